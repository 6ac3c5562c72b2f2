# SPDX-License-Identifier: GPL-2.0-or-later
# mk/layers.awk - who may include whom: awk -f mk/layers.awk FILES; says nothing and ends with 0 when all is well
#
# The arrows of HACKING.md. A folder may always include itself; agent/ stands apart.

BEGIN {
	may["fs"] = "ops base"
	may["ops"] = "vm storage net guest base"
	may["vm"] = may["storage"] = may["net"] = may["guest"] = may["agent"] = "base"
	may["base"] = ""
	may["tests"] = "*"

	# Third-party headers (as a pattern) and the only files (as a pattern) that may know them.
	only["^fuse"] = "^fs/[^/]*[.][ch]$"
	only["^libdevmapper"] = "^storage/dm[.]c$"
	only["^netlink/"] = "^net/(nl(-[a-z]+)?|track)[.][ch]$"
	only["^nftables/"] = "^net/nft[.]c$"
	only["^curl/"] = "^base/(http[.]c|http-private[.]h|fetch[.]c)$"
	only["^json-c/"] = "^(base/json[.][ch]|ops/[^/]*[.][ch]|agent/[^/]*[.][ch])$"
	only["^gcrypt"] = "^base/digest[.]c$"
	only["^archive"] = "^ops/template-archive[.]c$"
	only["^systemd/"] = "^(fs/[^/]*[.]c|base/log[.]c)$"
	only["^event2/"] = "^agent/"
	only["^cmocka"] = "^tests/"
}

function wrong(text) {
	printf "%s:%d: %s\n", FILENAME, FNR, text
	bad = 1
}

FNR == 1 {
	split(FILENAME, path, "/")
	here = path[1]
	if (!(here in may))
		wrong("this folder is not in mk/layers.awk: give it its arrows there and in HACKING.md")
}

/^[ \t]*#[ \t]*include[ \t]*"/ {
	split($0, quoted, "\"")
	if (split(quoted[2], path, "/") < 2) {
		wrong("include \"" quoted[2] "\" does not name its folder")
		next
	}
	if (path[1] != here && may[here] != "*" && index(" " may[here] " ", " " path[1] " ") == 0)
		wrong(here "/ may not include " quoted[2] " (only: " here (may[here] == "" ? "" : " " may[here]) ")")
}

/^[ \t]*#[ \t]*include[ \t]*</ {
	header = $0
	sub(/^[^<]*</, "", header)
	sub(/>.*/, "", header)
	for (pattern in only)
		if (header ~ pattern && FILENAME !~ only[pattern] && here != "tests")
			wrong("<" header "> belongs to " only[pattern] " alone")
}

END { exit bad }

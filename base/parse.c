/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/parse.c - words, numbers, names and key=value text
 *
 * How it works: one scanner, word_scan(), knows the quoting; splitting a line and finding its rest both
 * use it, so that they cannot disagree on where a word ends.
 */
#include "base/parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool name_is_valid(const char *name)
{
	size_t len = strnlen(name, NAME_MAX_LEN + 1);

	if (len == 0 || len > NAME_MAX_LEN || !is_alnum(name[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_alnum(name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

/* The character that a backslash at *@p stands for; steps over it but for its last byte. NULL at the end. */
static const char *escape_scan(const char *p, char quote, char *ret_c)
{
	*ret_c = '\\';
	if (p[1] == '\0')
		return quote ? p : NULL;
	/* As in sh: between double quotes only these four are escaped, elsewhere everything is. */
	if (quote && !strchr("\"\\$`", p[1]))
		return p;
	*ret_c = p[1];
	return p + 1;
}

/* Step over the word at @p; with @out, write it there unquoted and NUL-terminated. NULL: a quote is open. */
static const char *word_scan(const char *p, char **out)
{
	char quote = '\0';

	for (; *p && (quote || !is_blank(*p)); p++) {
		char c = *p;

		if (quote ? c == quote : (c == '"' || c == '\'')) {
			quote = (char)(quote ? 0 : c);
			continue;
		}
		if (c == '\\' && quote != '\'') {
			p = escape_scan(p, quote, &c);
			if (!p)
				return NULL;
		}
		if (out)
			*(*out)++ = c;
	}
	if (quote)
		return NULL;
	if (out)
		*(*out)++ = '\0';
	return p;
}

static const char *skip_blanks(const char *p)
{
	while (is_blank(*p))
		p++;
	return p;
}

int words_split(const char *line, char ***ret_words, int *ret_count, struct err *e)
{
	size_t len = strlen(line), most = len / 2 + 1;
	AUTO_FREE char **words = NULL;
	char *out;
	int n = 0;

	if (most > WORDS_MAX)
		most = WORDS_MAX;
	/* The vector, then its texts: unquoting never makes a text longer. */
	words = malloc((most + 1) * sizeof(*words) + len + 1);
	if (!words)
		return err_set(e, ENOMEM, "no memory to split a line of %zu bytes", len);
	out = (char *)(words + most + 1);
	for (const char *p = skip_blanks(line); *p; p = skip_blanks(p)) {
		if (n == WORDS_MAX)
			return err_set(e, EINVAL, "more than %d words in a line", (int)WORDS_MAX);
		words[n++] = out;
		p = word_scan(p, &out);
		if (!p)
			return err_set(e, EINVAL, "word %d has a quote that is not closed", n);
	}
	words[n] = NULL;
	*ret_words = steal_ptr(&words);
	*ret_count = n;
	return 0;
}

const char *words_rest(const char *line, int n)
{
	const char *p = skip_blanks(line);

	for (; n > 0 && *p; n--) {
		p = word_scan(p, NULL);
		if (!p)
			return "";
		p = skip_blanks(p);
	}
	return p;
}

int parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	uint64_t value = 0;
	bool over = false;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (!is_digit(*text))
			return -EINVAL;
		over |= __builtin_mul_overflow(value, 10U, &value);
		over |= __builtin_add_overflow(value, (unsigned)(*text - '0'), &value);
	}
	if (over || value < min || value > max)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

int parse_bool(const char *text, bool *ret_value)
{
	static const char *const words[][2] = {{"no", "yes"}, {"false", "true"}, {"0", "1"}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (int value = 0; value < 2; value++) {
			if (strcmp(text, words[i][value]) == 0) {
				*ret_value = value == 1;
				return 0;
			}
		}
	}
	return -EINVAL;
}

/* The value of a hexadecimal digit, -1 for another character. */
static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The byte that the sequence at @p (behind its backslash) stands for; its length, 0 for none such. */
static size_t unescape_one(const char *p, char *ret_c)
{
	int high, low;

	switch (*p) {
	case '\\':
		*ret_c = '\\';
		return 1;
	case 'n':
		*ret_c = '\n';
		return 1;
	case 't':
		*ret_c = '\t';
		return 1;
	case 'x':
		high = hex_value(p[1]);
		low = high < 0 ? -1 : hex_value(p[2]);
		if (low < 0 || high + low == 0) /* a NUL would cut the text */
			return 0;
		*ret_c = (char)(unsigned char)(high * 16 + low);
		return 3;
	default:
		return 0;
	}
}

int parse_unescape(char *text)
{
	char *out = text;

	while (*text) {
		size_t len;

		if (*text != '\\') {
			*out++ = *text++;
			continue;
		}
		len = unescape_one(text + 1, out);
		if (len == 0)
			return -EINVAL;
		out++;
		text += len + 1;
	}
	*out = '\0';
	return 0;
}

char *parse_line(char **cursor)
{
	char *line = *cursor, *end;

	if (!line || !*line) {
		*cursor = NULL;
		return NULL;
	}
	end = strchr(line, '\n');
	if (end)
		*end++ = '\0';
	*cursor = end;
	return line;
}

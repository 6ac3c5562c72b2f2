/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-digest.c - SHA-256 of data and of sparse files, HMAC-SHA256 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/digest.h"

/* FIPS 180-2, appendix B, and the digest of nothing. */
#define SHA_ABC   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define SHA_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void expect(struct digest *d, const char *hex)
{
	char mine[DIGEST_HEX_SIZE];

	digest_hex(d, mine);
	assert_string_equal(mine, hex);
	digest_free(d);
}

static void test_known(void **state)
{
	struct digest *d = digest_new();

	(void)state;
	assert_non_null(d);
	digest_add(d, "a", 1);
	digest_add(d, "bc", 2);
	expect(d, SHA_ABC);
	d = digest_new();
	assert_non_null(d);
	expect(d, SHA_EMPTY);
	digest_free(NULL);
}

static void test_fd(void **state)
{
	AUTO_FD fd = memfd_create("digest", MFD_CLOEXEC);
	struct digest *d = digest_new();

	(void)state;
	assert_int_equal(write(fd, "abc", 3), 3); /* the position is at the end now */
	assert_int_equal(digest_add_fd(d, fd, -1, NULL), 0);
	expect(d, SHA_ABC);
}

/* A file with holes before, between and behind its data sums up as its bytes do. */
static void test_holes(void **state)
{
	enum { SIZE = 3 << 20 };
	AUTO_FD fd = memfd_create("digest", MFD_CLOEXEC);
	AUTO_FREE char *bytes = calloc(1, SIZE);
	struct digest *d = digest_new(), *plain = digest_new();
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	assert_non_null(bytes);
	memcpy(bytes + 1000003, "data", 4);
	memcpy(bytes + 2000003, "more", 4);
	assert_int_equal(pwrite(fd, "data", 4, 1000003), 4);
	assert_int_equal(pwrite(fd, "more", 4, 2000003), 4);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	digest_add(plain, bytes, SIZE);
	digest_hex(plain, hex);
	digest_free(plain);
	assert_int_equal(digest_add_fd(d, fd, -1, NULL), 0);
	expect(d, hex);
}

static void sparse_hex(int fd, char hex[DIGEST_HEX_SIZE])
{
	struct digest *d = digest_new();

	assert_int_equal(digest_add_sparse(d, fd, -1, NULL), 0);
	digest_hex(d, hex);
	digest_free(d);
}

/* The same content with holes and without is the same; each change of it is another. */
static void test_sparse(void **state)
{
	enum { SIZE = (3 << 20) + 17 };
	AUTO_FD holes = memfd_create("digest", MFD_CLOEXEC);
	AUTO_FD whole = memfd_create("digest", MFD_CLOEXEC);
	AUTO_FREE char *bytes = calloc(1, SIZE);
	char before[DIGEST_HEX_SIZE], after[DIGEST_HEX_SIZE];

	(void)state;
	assert_non_null(bytes);
	memcpy(bytes + 1000003, "data", 4);
	memcpy(bytes + SIZE - 4, "more", 4);
	assert_int_equal(pwrite(whole, bytes, SIZE, 0), SIZE);
	assert_int_equal(pwrite(holes, "data", 4, 1000003), 4);
	assert_int_equal(pwrite(holes, "more", 4, SIZE - 4), 4);
	sparse_hex(whole, before);
	sparse_hex(holes, after);
	assert_string_equal(before, after);
	/* The same data in another place, one byte more, and all of it twice as long. */
	assert_int_equal(pwrite(holes, "\0\0\0\0", 4, 1000003), 4);
	assert_int_equal(pwrite(holes, "data", 4, 1000003 + (64 << 10)), 4);
	sparse_hex(holes, after);
	assert_string_not_equal(before, after);
	assert_int_equal(pwrite(whole, "x", 1, 5), 1);
	sparse_hex(whole, after);
	assert_string_not_equal(before, after);
	assert_int_equal(pwrite(whole, "", 1, 5), 1);
	assert_int_equal(ftruncate(whole, 2 * SIZE), 0);
	sparse_hex(whole, after);
	assert_string_not_equal(before, after);
	assert_int_equal(ftruncate(whole, SIZE), 0);
	sparse_hex(whole, after);
	assert_string_equal(before, after);
}

static void test_cancel(void **state)
{
	AUTO_FD fd = memfd_create("digest", MFD_CLOEXEC);
	AUTO_FD cancel = eventfd(1, EFD_CLOEXEC);
	struct digest *d = digest_new();
	struct err e = {0};

	(void)state;
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(digest_add_fd(d, fd, cancel, &e), -ECANCELED);
	assert_int_equal(e.code, ECANCELED);
	assert_int_equal(digest_add_fd(d, -1, -1, &e), -EIO);
	digest_free(d);
}

/* RFC 4231, 4.2 to 4.4, 4.7 and 4.8: the cases of SHA-256 that are not cut short. */
static void test_hmac(void **state)
{
	static const char *const wanted[] = {
		"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
		"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
		"773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
		"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
		"9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"};
	static const char larger_key[] = "Test Using Larger Than Block-Size Key - Hash Key First";
	static const char larger_both[] =
		"This is a test using a larger than block-size key and a larger than "
		"block-size data. The key needs to be hashed before being used by the HMAC "
		"algorithm.";
	char hex[DIGEST_HEX_SIZE];
	unsigned char key[131], data[50];

	(void)state;
	memset(key, 0x0b, 20);
	assert_int_equal(digest_hmac(key, 20, "Hi There", 8, hex), 0);
	assert_string_equal(hex, wanted[0]);
	assert_int_equal(digest_hmac("Jefe", 4, "what do ya want for nothing?", 28, hex), 0);
	assert_string_equal(hex, wanted[1]);
	memset(key, 0xaa, sizeof(key));
	memset(data, 0xdd, sizeof(data));
	assert_int_equal(digest_hmac(key, 20, data, sizeof(data), hex), 0);
	assert_string_equal(hex, wanted[2]);
	assert_int_equal(digest_hmac(key, sizeof(key), larger_key, sizeof(larger_key) - 1, hex), 0);
	assert_string_equal(hex, wanted[3]);
	assert_int_equal(digest_hmac(key, sizeof(key), larger_both, sizeof(larger_both) - 1, hex),
			 0);
	assert_string_equal(hex, wanted[4]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),  cmocka_unit_test(test_hmac),
		cmocka_unit_test(test_fd),     cmocka_unit_test(test_holes),
		cmocka_unit_test(test_sparse), cmocka_unit_test(test_cancel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

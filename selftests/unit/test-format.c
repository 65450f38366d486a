// SPDX-License-Identifier: GPL-2.0-or-later
/* Numbers for people, rate and time left, JSON text. */
#include <stdlib.h>
#include <string.h>

#include "../../userspace/cli/estimate.c"
#include "../../userspace/cli/json.c"
#include "../../userspace/common/format.h"
#include "unit.h"

TEST(bytes)
{
	char out[FORMAT_BYTES];

	CHECK_STR(format_bytes(0, out), "0 B");
	CHECK_STR(format_bytes(1023, out), "1023 B");
	CHECK_STR(format_bytes(1024, out), "1.0 KiB");
	CHECK_STR(format_bytes(3565158, out), "3.4 MiB");
	CHECK_STR(format_bytes((1 << 20) - 1, out), "1.0 MiB");
	CHECK_STR(format_bytes(UINT64_C(2) << 40, out), "2.0 TiB");
	CHECK_STR(format_bytes(UINT64_MAX, out), "16.0 EiB");
}

TEST(seconds)
{
	char out[FORMAT_BYTES];

	CHECK_STR(format_seconds(-1, out), "0.0 s");
	CHECK_STR(format_seconds(0.84, out), "0.8 s");
	CHECK_STR(format_seconds(9.96, out), "10 s");
	CHECK_STR(format_seconds(59.4, out), "59 s");
	CHECK_STR(format_seconds(59.6, out), "1 min 0 s");
	CHECK_STR(format_seconds(125, out), "2 min 5 s");
	CHECK_STR(format_seconds(3 * 3600 + 240, out), "3 h 4 min");
	CHECK_STR(format_seconds(2 * 86400 + 3 * 3600, out), "2 d 3 h");
}

TEST(time)
{
	char out[FORMAT_BYTES];

	CHECK_STR(format_time_us(0, out), "1970-01-01T00:00:00.000000Z");
	CHECK_STR(format_time_us(UINT64_C(1709251199000250), out), "2024-02-29T23:59:59.000250Z");
}

TEST(steady_rate)
{
	struct estimate e = { 0 };

	for (int i = 1; i <= 100; i++)
		estimate_sample(&e, i, i * 1000);
	CHECK(e.rate > 999 && e.rate < 1001);
	CHECK(estimate_left(&e, 100000, 110000) > 9.9 && estimate_left(&e, 100000, 110000) < 10.1);
	CHECK_EQ(estimate_left(&e, 5, 5), 0);
}

TEST(rate_follows_a_change)
{
	struct estimate e = { 0 };
	uint64_t done = 0;
	int i;

	for (i = 1; i <= 50; i++)
		estimate_sample(&e, i, done += 1000);
	for (; i <= 60; i++)
		estimate_sample(&e, i, done += 3000);
	CHECK(e.rate > 1800 && e.rate < 2900);	/* half way there, not jumped */
}

TEST(no_rate_no_guess)
{
	struct estimate e = { 0 };

	estimate_sample(&e, 1, 0);
	CHECK(estimate_left(&e, 0, 10) < 0);
	estimate_sample(&e, 2, 0);		/* stands still */
	CHECK(estimate_left(&e, 0, 10) < 0);
	estimate_sample(&e, 3, 500);
	estimate_sample(&e, 4, 100);		/* counted anew */
	CHECK(estimate_left(&e, 100, 200) < 0);
}

TEST(json_escapes)
{
	char *text = NULL;
	size_t size;
	struct json json = { open_memstream(&text, &size), true };

	json_open(&json, NULL, '{');
	json_text(&json, "a\"b", "x\\y\n\x01\xc3\xa4");
	json_text(&json, "n", NULL);
	json_open(&json, "l", '[');
	json_number(&json, NULL, UINT64_MAX);
	json_flag(&json, NULL, false);
	json_close(&json, ']');
	json_open(&json, "e", '[');
	json_close(&json, ']');
	json_seconds(&json, "s", 1500000);
	json_time(&json, "t", 0);
	json_close(&json, '}');
	fclose(json.to);
	CHECK_STR(text, "{\"a\\\"b\":\"x\\\\y\\u000a\\u0001\xc3\xa4\",\"n\":null,"
			"\"l\":[18446744073709551615,false],\"e\":[],\"s\":1.500000,\"t\":null}");
	free(text);
}

UNIT_MAIN(T(bytes), T(seconds), T(time), T(steady_rate), T(rate_follows_a_change),
	  T(no_rate_no_guess), T(json_escapes))

// SPDX-License-Identifier: GPL-2.0-or-later
/* Instants, times of day, windows; rates by time of day and among transfers. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "../../userspace/common/datetime.h"
#include "../../userspace/primary/rate.h"
#include "unit.h"

static uint64_t parsed(const char *text)
{
	uint64_t us = 1;

	return datetime_parse(text, &us) ? 0 : us;
}

TEST(utc)
{
	CHECK_EQ(parsed("2024-02-29T23:59:59.00025Z"), 1709251199000250);
	CHECK_EQ(parsed("2024-02-29 23:59Z"), 1709251140000000);
	CHECK_EQ(parsed("2024-03-01T01:59:59+02:00"), 1709251199000000);
	CHECK_EQ(parsed("2024-02-29T18:29:59-0530"), 1709251199000000);
}

TEST(cim)
{
	CHECK_EQ(parsed("20240229235959.000250+000"), 1709251199000250);
	CHECK_EQ(parsed("20240301015959.000250+120"), 1709251199000250);
	CHECK_EQ(parsed("20240229182959.000250-330"), 1709251199000250);
}

TEST(local)
{
	setenv("TZ", "EAST-3", 1);	/* three hours east */
	tzset();
	CHECK_EQ(parsed("2024-03-01T02:59:59"), 1709251199000000);
	CHECK_EQ(datetime_minute(1709251199000000), 2 * 60 + 59);
	setenv("TZ", "UTC0", 1);
	tzset();
	CHECK_EQ(parsed("2024-02-29T23:59:59"), 1709251199000000);
}

TEST(no_instants)
{
	static const char *const bad[] = {
		"", "now", "2024-02-30T00:00Z", "2023-02-29T00:00", "2024-13-01T00:00Z",
		"2024-02-29T24:00Z", "2024-02-29T23:60Z", "2024-02-29", "2024-02-29T23:59:59.Z",
		"2024-02-29T23:59:59Zx", "2024-02-29T23:59:59+15:00", "2024-2-29T23:59Z",
		"20240229235959.000250", "20240229235959.000250+0", "20240229235959.00025+000",
		"99999999999999.000000+000", "1969-12-31T23:59Z", "1970-01-01T00:00+01:00",
	};
	uint64_t us;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_EQ(datetime_parse(bad[i], &us), -EINVAL);
		if (!datetime_parse(bad[i], &us))
			printf("# %s is %llu\n", bad[i], (unsigned long long)us);
	}
}

TEST(windows)
{
	unsigned int from, to;

	CHECK_EQ(datetime_parse_window("18:30-06:00", &from, &to), 0);
	CHECK_EQ(from, 18 * 60 + 30);
	CHECK_EQ(to, 6 * 60);
	CHECK(datetime_in_window(from, to, 18 * 60 + 30));
	CHECK(datetime_in_window(from, to, 0));
	CHECK(!datetime_in_window(from, to, 6 * 60));
	CHECK(!datetime_in_window(from, to, 18 * 60 + 29));
	CHECK(datetime_in_window(60, 120, 60));
	CHECK(!datetime_in_window(60, 120, 120));
	CHECK(datetime_in_window(60, 60, 59));
	CHECK(datetime_in_window(60, 60, 60));
	CHECK_EQ(datetime_parse_window("18:30", &from, &to), -EINVAL);
	CHECK_EQ(datetime_parse_window("18:30-24:00", &from, &to), -EINVAL);
	CHECK_EQ(datetime_parse_window("8:30-10:00", &from, &to), -EINVAL);
	CHECK_EQ(datetime_parse_minute("18:30:00", &from), -EINVAL);
}

TEST(rates)
{
	uint64_t rate = 9;

	CHECK_EQ(rate_parse("none", &rate), 0);
	CHECK_EQ(rate, 0);
	CHECK_EQ(rate_parse("20M", &rate), 0);
	CHECK_EQ(rate, 20 << 20);
	CHECK_EQ(rate_parse("64K", &rate), 0);
	CHECK_EQ(rate, 65536);
	CHECK_EQ(rate_parse("1T", &rate), 0);
	CHECK_EQ(rate_parse("65535", &rate), -EINVAL);
	CHECK_EQ(rate_parse("2T", &rate), -EINVAL);
	CHECK_EQ(rate_parse("18446744073709551615K", &rate), -EINVAL);
	CHECK_EQ(rate_parse("20MB", &rate), -EINVAL);
	CHECK_EQ(rate_parse("-1", &rate), -EINVAL);
	CHECK_EQ(rate_parse("", &rate), -EINVAL);
}

TEST(rate_by_time)
{
	struct rate_limits limits = {
		.rate = 1000,
		.window_count = 2,
		.windows = { { 22 * 60, 6 * 60, 0 }, { 5 * 60, 8 * 60, 7000 } },
	};

	CHECK_EQ(rate_at(&limits, 12 * 60), 1000);
	CHECK_EQ(rate_at(&limits, 23 * 60), 0);
	CHECK_EQ(rate_at(&limits, 5 * 60), 0);
	CHECK_EQ(rate_at(&limits, 6 * 60), 7000);
}

TEST(shares)
{
	uint64_t own[4] = { 0, 100, 5000, 0 }, out[4];

	rate_divide(0, 4, own, out);
	CHECK_EQ(out[0], 0);
	CHECK_EQ(out[2], 5000);
	rate_divide(3100, 4, own, out);
	CHECK_EQ(out[1], 100);
	CHECK_EQ(out[0], 1000);
	CHECK_EQ(out[2], 1000);
	CHECK_EQ(out[3], 1000);
	own[2] = 1010;	/* above the first share, below the second */
	rate_divide(4000, 4, own, out);
	CHECK_EQ(out[0] + out[1] + out[2] + out[3], 4000);
	CHECK_EQ(out[2], 1010);
	CHECK_EQ(out[0], 1445);
	rate_divide(2, 4, own, out);
	for (int i = 0; i < 4; i++)
		CHECK(out[i] == 1);
	rate_divide(100, 0, own, out);
}

UNIT_MAIN(T(utc), T(cim), T(local), T(no_instants), T(windows), T(rates), T(rate_by_time),
	  T(shares))

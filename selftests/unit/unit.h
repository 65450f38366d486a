/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A unit test program: TEST(name) { ... CHECK(...); } bodies, listed in UNIT_MAIN(...).
 * Prints TAP, exits 0 only if every check of every test held.
 */
#ifndef VMR_SELFTESTS_UNIT_H
#define VMR_SELFTESTS_UNIT_H

#include <stdio.h>

struct unit_test { const char *name; void (*run)(void); };

static int unit_failures;

#define TEST(name) static void test_##name(void)
#define CHECK(cond) do { \
	if (!(cond)) { \
		unit_failures++; \
		printf("# %s:%d: %s does not hold\n", __FILE__, __LINE__, #cond); \
	} \
} while (0)
#define CHECK_EQ(a, b) do { \
	long long unit_a = (long long)(a), unit_b = (long long)(b); \
	if (unit_a != unit_b) { \
		unit_failures++; \
		printf("# %s:%d: %s is %lld, not %s (%lld)\n", __FILE__, __LINE__, #a, unit_a, #b, unit_b); \
	} \
} while (0)
#define CHECK_STR(a, b) do { \
	const char *unit_a = (a), *unit_b = (b); \
	if (__builtin_strcmp(unit_a, unit_b)) { \
		unit_failures++; \
		printf("# %s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #a, unit_a, unit_b); \
	} \
} while (0)
#define T(name) { #name, test_##name }

#define UNIT_MAIN(...) \
int main(void) \
{ \
	static const struct unit_test tests[] = { __VA_ARGS__ }; \
	const int count = sizeof(tests) / sizeof(tests[0]); \
	int failed = 0; \
	printf("TAP version 13\n1..%d\n", count); \
	for (int i = 0; i < count; i++) { \
		int before = unit_failures; \
		tests[i].run(); \
		failed += unit_failures > before; \
		printf("%s %d - %s\n", unit_failures > before ? "not ok" : "ok", i + 1, tests[i].name); \
	} \
	return failed ? 1 : 0; \
}

#endif

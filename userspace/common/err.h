/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What went wrong, said once, at the place that knows.
 *
 * A function that can fail for a reason the user should read takes a
 * struct err as its last parameter and returns 0 or a negative errno. The
 * function that finds the reason fills the sentence in; callers pass it up
 * unchanged. A null pointer is allowed and drops the sentence.
 */
#ifndef VMR_COMMON_ERR_H
#define VMR_COMMON_ERR_H

#define ERR_TEXT_BYTES 384

struct err {
	int code;			/* negative errno, 0: nothing went wrong */
	char text[ERR_TEXT_BYTES];	/* one sentence: what failed, what to do */
};

/* Sets code and sentence; returns @code, so that "return err_set(...)" works. */
int err_set(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, with ": <strerror(-code)>" appended to the sentence. */
int err_sys(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif

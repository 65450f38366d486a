/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes JSON, value by value; commas come by themselves. */
#ifndef VMR_CLI_JSON_H
#define VMR_CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
	FILE *to;
	bool first;		/* of its array or object */
};

/* @key null: in an array, or the outermost value. */
void json_open(struct json *json, const char *key, char bracket);	/* '{' or '[' */
void json_close(struct json *json, char bracket);			/* '}' or ']' */
void json_text(struct json *json, const char *key, const char *text);	/* null: null */
void json_number(struct json *json, const char *key, uint64_t number);
/* UINT64_MAX: null, it is not known. */
void json_bytes(struct json *json, const char *key, uint64_t bytes);
void json_flag(struct json *json, const char *key, bool flag);
void json_seconds(struct json *json, const char *key, uint64_t us);	/* with six digits */
void json_time(struct json *json, const char *key, uint64_t time_us);	/* RFC 3339; 0: null */

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
#include <inttypes.h>

#include "../common/format.h"
#include "json.h"

static void put_string(FILE *to, const char *text)
{
	const unsigned char *c;

	putc('"', to);
	for (c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\')
			fprintf(to, "\\%c", *c);
		else if (*c < 0x20)
			fprintf(to, "\\u%04x", *c);
		else
			putc(*c, to);
	}
	putc('"', to);
}

static void begin(struct json *json, const char *key)
{
	if (!json->first)
		putc(',', json->to);
	json->first = false;
	if (!key)
		return;
	put_string(json->to, key);
	putc(':', json->to);
}

void json_open(struct json *json, const char *key, char bracket)
{
	begin(json, key);
	putc(bracket, json->to);
	json->first = true;
}

void json_close(struct json *json, char bracket)
{
	putc(bracket, json->to);
	json->first = false;
}

void json_text(struct json *json, const char *key, const char *text)
{
	begin(json, key);
	if (text)
		put_string(json->to, text);
	else
		fputs("null", json->to);
}

void json_number(struct json *json, const char *key, uint64_t number)
{
	begin(json, key);
	fprintf(json->to, "%" PRIu64, number);
}

void json_bytes(struct json *json, const char *key, uint64_t bytes)
{
	if (bytes == UINT64_MAX)
		json_text(json, key, NULL);
	else
		json_number(json, key, bytes);
}

void json_flag(struct json *json, const char *key, bool flag)
{
	begin(json, key);
	fputs(flag ? "true" : "false", json->to);
}

void json_seconds(struct json *json, const char *key, uint64_t us)
{
	begin(json, key);
	fprintf(json->to, "%" PRIu64 ".%06u", us / 1000000, (unsigned int)(us % 1000000));
}

void json_time(struct json *json, const char *key, uint64_t time_us)
{
	char text[FORMAT_BYTES];

	json_text(json, key, time_us ? format_time_us(time_us, text) : NULL);
}

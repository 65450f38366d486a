// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/datetime.h"
#include "../wire/wire.h"
#include "config.h"

#define LINE_BYTES 512

void config_defaults(struct config *config)
{
	*config = (struct config){
		.state_dir = "/var/lib/vmreplica",
		.listen = true,
		.port = WIRE_PORT,
		.max_transfers = 3,
		.max_relationships = 256,
		.period_s = 43200,
	};
}

static int parse_number(const char *text, unsigned int min, unsigned int max, unsigned int *number)
{
	unsigned long value;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || value < min || value > max)
		return -EINVAL;
	*number = value;
	return 0;
}

int config_parse_listen(const char *text, struct config *config)
{
	const char *colon = strrchr(text, ':'), *digits = colon ? colon + 1 : text;
	size_t length = colon ? (size_t)(colon - text) : 0;
	unsigned int port;

	if (!strcmp(text, "no")) {
		config->listen = false;
		return 0;
	}
	if (parse_number(digits, 1, 65535, &port))
		return -EINVAL;
	if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
		text++;
		length -= 2;
	}
	if (length >= sizeof(config->address))
		return -EINVAL;
	memcpy(config->address, text, length);
	config->address[length] = 0;
	config->port = port;
	config->listen = true;
	return 0;
}

/* --- one key each: 0, or -EINVAL and @wanted says what it should have been ---------- */

static int set_state_dir(const char *value, struct config *config, const char **wanted)
{
	*wanted = "an absolute path of at most 255 bytes";
	if (value[0] != '/' || strlen(value) >= sizeof(config->state_dir))
		return -EINVAL;
	strcpy(config->state_dir, value);
	return 0;
}

static int set_listen(const char *value, struct config *config, const char **wanted)
{
	*wanted = "[ADDRESS:]PORT, or 'no'";
	return config_parse_listen(value, config);
}

static int set_transfers(const char *value, struct config *config, const char **wanted)
{
	*wanted = "a number, 1 to 1024";
	return parse_number(value, 1, 1024, &config->max_transfers);
}

static int set_relationships(const char *value, struct config *config, const char **wanted)
{
	*wanted = "a number, 1 to 4096";
	return parse_number(value, 1, 4096, &config->max_relationships);
}

static int set_period(const char *value, struct config *config, const char **wanted)
{
	*wanted = "seconds, 3600 to 604800";
	return parse_number(value, 3600, 604800, &config->period_s);
}

static int set_rate(const char *value, struct config *config, const char **wanted)
{
	*wanted = "'none', or bytes a second such as 500K, 20M or 1G";
	return rate_parse(value, &config->rates.rate);
}

static int set_window(const char *value, struct config *config, const char **wanted)
{
	struct rate_window *window = &config->rates.windows[config->rates.window_count];
	const char *blank = strchr(value, ' ');
	char times[16];

	*wanted = "HH:MM-HH:MM and a rate, such as 08:00-18:00 20M; at most 16 of them";
	if (config->rates.window_count == RATE_MAX_WINDOWS || !blank ||
	    (size_t)(blank - value) >= sizeof(times))
		return -EINVAL;
	snprintf(times, sizeof(times), "%.*s", (int)(blank - value), value);
	if (datetime_parse_window(times, &window->from, &window->to) ||
	    rate_parse(blank + strspn(blank, " \t"), &window->rate))
		return -EINVAL;
	config->rates.window_count++;
	return 0;
}

static const struct key {
	const char *name;
	bool repeats;
	int (*set)(const char *value, struct config *config, const char **wanted);
} keys[] = {
	{ "state-dir", false, set_state_dir },
	{ "listen", false, set_listen },
	{ "max-transfers", false, set_transfers },
	{ "max-relationships", false, set_relationships },
	{ "statistics-period", false, set_period },
	{ "rate", false, set_rate },
	{ "rate-window", true, set_window },
};

/* --- the file ------------------------------------------------------------------------ */

/* What is left of @text without the blanks at both ends. */
static char *strip(char *text)
{
	size_t length;

	text += strspn(text, " \t");
	length = strlen(text);
	while (length && isspace((unsigned char)text[length - 1]))
		text[--length] = 0;
	return text;
}

/* @seen: a bit for each key that came already. */
static int take_line(char *line, struct config *config, unsigned int *seen, struct err *e)
{
	char *text = strip(line), *equals = strchr(text, '='), *name, *value;
	const char *wanted = "";
	unsigned int i;

	if (!text[0] || text[0] == '#')
		return 0;
	if (!equals)
		return err_set(e, -EINVAL, "'%.60s' is not of the form key = value", text);
	*equals = 0;
	name = strip(text);
	value = strip(equals + 1);
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]) && strcmp(keys[i].name, name); i++)
		;
	if (i == sizeof(keys) / sizeof(keys[0]))
		return err_set(e, -EINVAL, "there is no setting '%.60s': see vmreplicad(8)", name);
	if (!keys[i].repeats && (*seen & 1u << i))
		return err_set(e, -EINVAL, "%s is set twice", name);
	*seen |= 1u << i;
	if (keys[i].set(value, config, &wanted))
		return err_set(e, -EINVAL, "%s must be %s, not '%.60s'", name, wanted, value);
	return 0;
}

int config_read(const char *path, bool optional, struct config *config, struct err *e)
{
	FILE *file = fopen(path, "re");
	unsigned int number = 0, seen = 0;
	struct err why = { 0 };
	char line[LINE_BYTES];
	int rc = 0;

	if (!file && optional && errno == ENOENT)
		return 0;
	if (!file)
		return err_sys(e, -errno, "cannot read the settings in %s", path);
	while (!rc && fgets(line, sizeof(line), file)) {
		number++;
		if (strlen(line) == sizeof(line) - 1)
			rc = err_set(&why, -EINVAL, "the line is longer than %zu bytes", sizeof(line) - 2);
		else
			rc = take_line(line, config, &seen, &why);
	}
	if (rc)
		rc = err_set(e, rc, "%.100s:%u: %.240s", path, number, why.text);
	else if (ferror(file))
		rc = err_sys(e, -EIO, "cannot read the settings in %s", path);
	fclose(file);
	return rc;
}

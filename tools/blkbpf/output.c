// SPDX-License-Identifier: GPL-2.0
/* JSON and errors. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "main.h"

bool json_output;
static int json_flags = JSON_C_TO_STRING_NOSLASHESCAPE;

void json_enable(bool pretty)
{
	json_output = true;
	if (pretty)
		json_flags |= JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;
}

void *must(void *memory)
{
	if (memory)
		return memory;
	fputs("blkbpf: out of memory\n", stderr);
	exit(EXIT_FAILED);
}

const char *json_text(struct json_object *value)
{
	return must((void *)json_object_to_json_string_ext(value, json_flags));
}

void json_print(struct json_object *value)
{
	puts(json_text(value));
	json_object_put(value);
}

void json_add(struct json_object *obj, const char *key, struct json_object *val)
{
	if (json_object_object_add(obj, key, must(val)))
		must(NULL);
}

void json_add_u64(struct json_object *obj, const char *key, uint64_t value)
{
	json_add(obj, key, json_object_new_uint64(value));
}

void json_add_str(struct json_object *obj, const char *key, const char *value)
{
	json_add(obj, key, json_object_new_string(value));
}

struct json_object *json_bytes_hex(const unsigned char *bytes, size_t len)
{
	struct json_object *value;
	char *hex = must(malloc(2 * len + 1));
	size_t i;

	for (i = 0; i < len; i++)
		sprintf(hex + 2 * i, "%02x", bytes[i]);
	value = json_object_new_string_len(hex, 2 * len);
	free(hex);
	return must(value);
}

static void print_error(int err, const char *text, const char *hint)
{
	struct json_object *obj;

	if (err < 0)
		err = -err;
	if (!json_output) {
		fprintf(stderr, "blkbpf: %s\n%s", text, hint);
		return;
	}
	obj = json_object_new_object();
	json_add_str(obj, "error", text);
	if (strerrorname_np(err))
		json_add_str(obj, "errno", strerrorname_np(err));
	fprintf(stderr, "%s\n", json_text(obj));
	json_object_put(obj);
}

int fail(int err, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	print_error(err, must(len < 0 ? NULL : text), "");
	free(text);
	return EXIT_FAILED;
}

int fail_library(void)
{
	print_error(errno, blkbpf_last_error(), "");
	return EXIT_FAILED;
}

int fail_usage(const char *fmt, ...)
{
	const char *command = running_command();
	char *text, *hint;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (asprintf(&hint, "Try 'blkbpf %s%s'.\n", command ? command : "help",
		     command ? " --help" : "") < 0)
		must(NULL);
	print_error(EINVAL, must(len < 0 ? NULL : text), hint);
	free(hint);
	free(text);
	return EXIT_USAGE;
}

int finish_output(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	return fail(errno, "standard output: %s", strerror(errno));
}

// SPDX-License-Identifier: GPL-2.0
/*
 * libbpf's messages: collected while something is loaded, passed on if the
 * caller wants them, and searched for the sentence that says why.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

struct text {
	char *buf;
	size_t len, room;
};

static __thread struct {
	bool on;
	struct text log;
	struct text reason;
	struct source_place place;
} capture;

static blkbpf_log_fn log_fn;
static void *log_ctx;

static void text_add(struct text *t, const char *s, size_t len)
{
	char *buf;

	if (t->len + len + 1 > t->room) {
		buf = realloc(t->buf, 2 * (t->len + len + 1));
		if (!buf)
			return;		/* a shorter explanation, no less true */
		t->buf = buf;
		t->room = 2 * (t->len + len + 1);
	}
	memcpy(t->buf + t->len, s, len);
	t->len += len;
	t->buf[t->len] = '\0';
}

static void text_free(struct text *t)
{
	free(t->buf);
	*t = (struct text) {};
}

static int print_fn(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	bool keep = capture.on && level == LIBBPF_WARN;
	char *text;
	int len;

	if (!keep && !log_fn)
		return 0;
	len = vasprintf(&text, fmt, ap);
	if (len < 0)
		return 0;
	if (log_fn)
		log_fn(log_ctx, text);
	if (keep)
		text_add(&capture.log, text, len);
	free(text);
	return len;
}

/* Before anything of libbpf can run: its default is to print to stderr. */
static void __attribute__((constructor)) set_print(void)
{
	libbpf_set_print(print_fn);
}

void blkbpf_set_log(blkbpf_log_fn fn, void *ctx)
{
	log_ctx = ctx;
	log_fn = fn;
}

void log_pass(const char *text)
{
	if (log_fn && *text)
		log_fn(log_ctx, text);
}

unsigned int log_level(void)
{
	/* BPF_LOG_STATS of the kernel's include/linux/bpf_verifier.h */
	return log_fn ? 4 : 0;
}

void log_begin(void)
{
	log_end();
	capture.on = true;
	capture.place = (struct source_place) {};
}

void log_end(void)
{
	capture.on = false;
	text_free(&capture.log);
	text_free(&capture.reason);
}

static bool starts_with(const char *line, const char *const *prefixes)
{
	for (; *prefixes; prefixes++)
		if (!strncmp(line, *prefixes, strlen(*prefixes)))
			return true;
	return false;
}

/* The verifier's account of its walk, which is not what it refused. */
static bool is_trace(const char *line)
{
	static const char *const prefixes[] = {
		";", "from ", "func#", "processed ", "max_states", "Live regs",
		"mark_precise", "last_idx", "parent ", "regs=", "frame",
		"verification time", "stack depth", "caller:", "callee:",
		"returning from callee", "to caller", "Validating ", "Func#",
		"propagating", "--", NULL
	};
	const char *p = line;

	/* "12: (bf) r1 = r2", and "R1=ctx() R10=fp0" but not "R1 !read_ok" */
	if (*p == 'R')
		p++;
	while (isdigit((unsigned char)*p))
		p++;
	if (p != line && strchr(*line == 'R' ? "=_" : ":", *p))
		return true;
	return !*line || starts_with(line, prefixes);
}

/* What libbpf says after any failure. */
static bool is_epilogue(const char *line)
{
	return !*line || strstr(line, "failed to load object") ||
	       strstr(line, "failed to load BPF skeleton") ||
	       strstr(line, "BPF program load failed") ||
	       strstr(line, "-- END PROG LOAD LOG");
}

static char *place_text(const struct source_place *place)
{
	char *text;

	if (asprintf(&text, " (%s:%u: %s)", place->file, place->line,
		     place->text) < 0)
		return NULL;
	return text;
}

char *log_take_place(char *reason, struct source_place *place)
{
	size_t len = strlen(reason), tail;
	char *text;

	*place = capture.place;
	if (!place->line)
		return reason;
	text = place_text(place);
	tail = text ? strlen(text) : 0;
	if (tail < len && !strcmp(reason + len - tail, text ? text : ""))
		reason[len - tail] = '\0';
	free(text);
	return reason;
}

static void add_sentence(const char *sentence)
{
	if (capture.reason.len)
		text_add(&capture.reason, "; ", 2);
	text_add(&capture.reason, sentence, strlen(sentence));
}

/*
 * "; code @ file.c:12" in front of the refused instruction says where to mend.
 */
static void add_place(const char *source)
{
	struct source_place *place = &capture.place;
	const char *at = strstr(source, "@ "), *colon = strrchr(source, ':');
	char *text;

	source += strspn(source, "; ");
	if (!at || at <= source || !colon || colon < at)
		return;
	place->line = strtoul(colon + 1, NULL, 10);
	snprintf(place->file, sizeof(place->file), "%.*s", (int)(colon - at - 2),
		 at + 2);
	while (at > source && at[-1] == ' ')
		at--;
	snprintf(place->text, sizeof(place->text), "%.*s", (int)(at - source),
		 source);
	text = place_text(place);
	if (text)
		text_add(&capture.reason, text, strlen(text));
	free(text);
}

/*
 * The verifier's log ends in what it refused, followed by a summary: the last
 * lines that are no trace.
 */
static void verifier_reason(char **begin, char **end)
{
	char **first, **line;

	while (end > begin && is_trace(end[-1]))
		end--;
	for (first = end; first > begin && !is_trace(first[-1]);)
		first--;
	for (line = first; line < end; line++)
		add_sentence(*line);
	for (line = first; line > begin; line--) {
		if (line[-1][0] == ';') {
			add_place(line[-1]);
			break;
		}
	}
}

/* Cut the log in lines, in place. */
static char **split_lines(char *text, size_t *nr)
{
	char **lines = NULL, **more, *line, *save = NULL;
	size_t room = 0;

	*nr = 0;
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (*nr == room) {
			room = room ? 2 * room : 256;
			more = realloc(lines, room * sizeof(*lines));
			if (!more)
				break;
			lines = more;
		}
		if (!strncmp(line, "libbpf: ", 8))
			line += 8;
		lines[(*nr)++] = line;
	}
	return lines;
}

const char *log_reason(void)
{
	char **lines, **begin = NULL, **end = NULL;
	size_t nr, i;

	if (!capture.log.buf)
		return "";
	lines = split_lines(capture.log.buf, &nr);
	for (i = 0; i < nr; i++) {
		if (strstr(lines[i], "-- BEGIN PROG LOAD LOG"))
			begin = &lines[i + 1];
		else if (strstr(lines[i], "-- END PROG LOAD LOG"))
			end = &lines[i];
	}
	if (begin && end && begin < end)
		verifier_reason(begin, end);
	for (i = 0; i < nr && !capture.reason.len; i++)
		if (!is_epilogue(lines[i]) && !strstr(lines[i], "-- BEGIN"))
			add_sentence(lines[i]);
	/* The lines point into the log, which is not needed again. */
	free(lines);
	return capture.reason.buf ? capture.reason.buf : "";
}

// SPDX-License-Identifier: GPL-2.0
/* Programs that a user writes as an option: --where, --match, and --dump. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "main.h"

/* The BPF compilers that may be there, newest first. */
static const char *const clangs[] = {
	"clang-22", "clang-21", "clang-20", "clang-19", "clang",
};

/* For libc's headers, which ask for whom they are. */
#if defined(__x86_64__)
#define HOST_OPTIONS "-D__x86_64__", "-idirafter", "/usr/include/x86_64-linux-gnu"
#elif defined(__aarch64__)
#define HOST_OPTIONS "-D__aarch64__", "-idirafter", "/usr/include/aarch64-linux-gnu"
#else
#define HOST_OPTIONS "-idirafter", "/usr/include"
#endif

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && !strcmp(text + len - end_len, end);
}

/* Run a compiler; its exit status, or 127 if there is none of that name. */
static int run_clang(const char *name, const char *source, const char *object)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return 1;
	if (!pid) {
		execlp(name, name, "-g", "-O1", "-w", "-target", "bpf", HOST_OPTIONS,
		       "-x", "c", "-c", source, "-o", object, (char *)NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/*
 * A header to an object with its types: a variable of the type, so that the
 * compiler describes it. The path of the object, to unlink() and free().
 */
static char *compile_header(const char *header, const char *type)
{
	char dir[] = "/tmp/blkbpf-layout.XXXXXX", *source, *object, *path;
	int status = 127;
	size_t i;
	FILE *f;

	path = realpath(header, NULL);
	if (!path || !mkdtemp(dir)) {
		fail(errno, "%s: %s", path ? dir : header, strerror(errno));
		free(path);
		return NULL;
	}
	if (asprintf(&source, "%s/layout.c", dir) < 0 ||
	    asprintf(&object, "%s.o", dir) < 0)
		must(NULL);
	f = fopen(source, "w");
	if (f) {
		fprintf(f, "#include <stdint.h>\n#include <stddef.h>\n#include \"%s\"\n%s layout;\n",
			path, type);
		fclose(f);
	}
	for (i = 0; i < ARRAY_SIZE(clangs) && status == 127; i++)
		status = run_clang(clangs[i], source, object);
	unlink(source);
	rmdir(dir);
	if (status) {
		unlink(object);
		if (status == 127)
			fail(ENOENT, "--layout %s: to read a header takes clang, and there is none: install it, or give an object file with BTF",
			     header);
		else
			fail(EINVAL, "--layout %s: clang does not compile it with a variable of type '%s': see above",
			     header, type);
		free(object);
		object = NULL;
	}
	free(source);
	free(path);
	return object;
}

/* Show the place: the sentence has the column for machines. */
static void point_at(const char *text, size_t column)
{
	if (json_output || !column || strlen(text) > 200 || strpbrk(text, "\t\n"))
		return;
	fprintf(stderr, "  %s\n  %*s\n", text, (int)column, "^");
}

static struct blkbpf_object *open_where(const struct expr_choice *choice)
{
	char *layout = NULL, *object = NULL;
	size_t column = 0;
	struct blkbpf_expr_opts opts = {
		.sz = sizeof(opts),
		.record = choice->record,
		.column = &column,
	};
	struct blkbpf_object *obj = NULL;
	char *colon;

	if (choice->layout) {
		layout = must(strdup(choice->layout));
		colon = strrchr(layout, ':');
		if (!colon || !colon[1] || colon == layout) {
			fail_usage("scan: --layout %s: give FILE:TYPE, as item.h:struct item",
				   choice->layout);
			goto out;
		}
		*colon = '\0';
		opts.layout = layout;
		opts.type = colon + 1;
	}
	if (layout && ends_with(layout, ".h")) {
		object = compile_header(layout, opts.type);
		if (!object)
			goto out;
		opts.layout = object;
	}
	obj = blkbpf_object__where(choice->where, &opts);
	if (!obj) {
		fail_library();
		point_at(choice->where, column);
	}
	if (object)
		unlink(object);
out:
	free(object);
	free(layout);
	return obj;
}

struct blkbpf_object *open_expr(const struct expr_choice *choice)
{
	struct blkbpf_object *obj;

	if (choice->where)
		return open_where(choice);
	obj = blkbpf_object__match(choice->match);
	if (!obj)
		fail_library();
	return obj;
}

int dump_expr(const struct expr_choice *choice)
{
	struct blkbpf_object *obj = open_expr(choice);
	enum blkbpf_dump format = strcmp(choice->dump, "c") ? BLKBPF_DUMP_BPF :
							      BLKBPF_DUMP_C;
	int ret = EXIT_OK;
	char *text;

	if (!obj)
		return EXIT_FAILED;
	text = blkbpf_prog__dump(blkbpf_object__next_prog(obj, NULL), format);
	if (text)
		fputs(text, stdout);
	else
		ret = fail_library();
	free(text);
	blkbpf_object__close(obj);
	return ret;
}

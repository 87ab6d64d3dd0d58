// SPDX-License-Identifier: GPL-2.0
/* What the fuzzer has found worth keeping, once more. */
#include <dirent.h>
#include <stdint.h>
#include <stdlib.h>

#include "ktap.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool replay(const char *folder, const char *name)
{
	static uint8_t bytes[1 << 16];
	char path[4096];
	FILE *file;
	size_t size;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "rb");
	if (!file)
		return false;
	size = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	/* Ends the process if the engines differ. */
	LLVMFuzzerTestOneInput(bytes, size);
	return true;
}

int main(int argc, char **argv)
{
	const struct dirent *entry;
	unsigned int files = 0;
	bool ok = true;
	DIR *dir;

	ktap_plan(1);
	dir = opendir(argc == 2 ? argv[1] : "");
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		ok = replay(argv[1], entry->d_name) && ok;
		files++;
	}
	if (dir)
		closedir(dir);
	printf("# %u files\n", files);
	ktap_result(ok && files > 0, "corpus_is_replayed");
	return ktap_finish();
}

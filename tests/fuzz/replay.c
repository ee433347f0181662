/* replay - runs a fuzz target over files, without libFuzzer: each argument is a file or a folder of
 * files. So the corpus is a regression test under any compiler and sanitizer. */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"

/* Each target declares its own; libFuzzer's interface has no header. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REPLAY_PATH_MAX 4096

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        return -1;
    }
    struct stat st;
    uint8_t *data = NULL;
    int rc = -1;
    if (fstat(fileno(f), &st) != 0) {
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        goto out;
    }
    /* Memory of the exact size: the sanitizer then sees reads past the end. */
    size_t size = (size_t)st.st_size;
    data = mem_alloc(size);
    if (data == NULL || fread(data, 1, size, f) != size) {
        fprintf(stderr, "replay: %s: cannot be read whole\n", path);
        goto out;
    }
    LLVMFuzzerTestOneInput(data, size);
    rc = 1;
out:
    mem_free(data);
    fclose(f);
    return rc;
}

/* Number of files run, -1 after an error. */
static int replay_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        return -1;
    }
    int count = 0;
    struct dirent *e;
    while (count >= 0 && (e = readdir(dir)) != NULL) {
        if (e->d_name[0] == '.') {
            continue;
        }
        char file[REPLAY_PATH_MAX];
        int n = snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        if (n < 0 || (size_t)n >= sizeof file || replay_file(file) < 0) {
            count = -1;
        } else {
            count++;
        }
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        bool folder = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);
        int count = folder ? replay_folder(argv[i]) : replay_file(argv[i]);
        if (count < 0) {
            return 1;
        }
        total += count;
    }
    if (total == 0) {
        fprintf(stderr, "replay: no files; usage: replay FILE-OR-FOLDER...\n");
        return 2;
    }
    printf("replayed %d inputs\n", total);
    return 0;
}

/* A disk whose syncs can be made to fail, for a process that has this library preloaded.

   It keeps, in the folder FAULTY_DISK, what a loss of power would leave of each *.db and *.db-wal:
   what was written comes there with a sync that succeeds. While the file `fail` stands there, syncs of
   files whose name ends as its content says fail with EIO, and what was written before them never comes
   there by itself: a kernel counts such pages as clean, and writes them again only when they are
   written to again. Built by faulty_disk.py. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096L
#define FILES_MAX 16
#define PAGES_MAX 65536L /* 256 MiB a file: more than any test writes */

struct file {
    char name[256];
    char dirty[PAGES_MAX];
};

static struct file files[FILES_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* The file behind a descriptor, or NULL for one that is not watched. */
static struct file *file_of(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0 || getenv("FAULTY_DISK") == NULL) return NULL;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    if (name == NULL || !(ends_with(name, ".db") || ends_with(name, ".db-wal"))) return NULL;
    name++;
    for (int n = 0; n < FILES_MAX; n++) {
        if (files[n].name[0] == 0) snprintf(files[n].name, sizeof files[n].name, "%.255s", name);
        if (strcmp(files[n].name, name) == 0) return &files[n];
    }
    return NULL;
}

static int open_in_folder(const char *name, int flags) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("FAULTY_DISK"), name);
    return open(path, flags, 0600);
}

static int is_to_fail(const struct file *file) {
    char end[64] = "";
    int fd = open_in_folder("fail", O_RDONLY);
    if (fd < 0) return 0;
    ssize_t length = read(fd, end, sizeof end - 1);
    close(fd);
    end[length > 0 ? length : 0] = 0;
    return ends_with(file->name, end);
}

static int synced(int fd, const char *call) {
    static int (*real)(int);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, call);
    int result = 0;
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    if (file == NULL) {
        pthread_mutex_unlock(&lock);
        return real(fd);
    }
    if (is_to_fail(file)) {
        memset(file->dirty, 0, sizeof file->dirty);
        errno = EIO;
        result = -1;
    } else {
        int kept = open_in_folder(file->name, O_WRONLY | O_CREAT);
        char page[PAGE];
        for (long n = 0; n < PAGES_MAX; n++) {
            if (!file->dirty[n]) continue;
            ssize_t length = pread64(fd, page, PAGE, n * PAGE);
            if (length > 0 && pwrite(kept, page, length, n * PAGE) != length) abort();
            file->dirty[n] = 0;
        }
        close(kept);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fsync"); }

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
    ssize_t written = real(fd, data, size, at);
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    if (file != NULL && written > 0)
        for (long n = at / PAGE; n <= (at + written - 1) / PAGE; n++) {
            if (n >= PAGES_MAX) abort();
            file->dirty[n] = 1;
        }
    pthread_mutex_unlock(&lock);
    return written;
}

int ftruncate64(int fd, off64_t size) {
    static int (*real)(int, off64_t);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "ftruncate64");
    int result = real(fd, size);
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    if (file != NULL && result == 0) {
        int kept = open_in_folder(file->name, O_WRONLY | O_CREAT);
        if (real(kept, size) != 0) abort();
        close(kept);
        for (long n = (size + PAGE - 1) / PAGE; n < PAGES_MAX; n++) file->dirty[n] = 0;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

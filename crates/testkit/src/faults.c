// Loaded into a node that is tested, before the C library: its disk fails, its clock is wrong and its power goes, as the files
// in the directory FAULT_DIR say. `faults.rs` writes these files and says what they mean.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int in_dir(char *path, const char *name) {
    const char *dir = getenv("FAULT_DIR");
    return dir != NULL && snprintf(path, PATH_MAX, "%s/%s", dir, name) < PATH_MAX;
}

static int is_on(const char *name) {
    char path[PATH_MAX];
    return in_dir(path, name) && syscall(SYS_access, path, F_OK) == 0;
}

// Clock.

// Both in one file, so that a machine that was suspended never shows one of them without the other.
static int64_t wall_offset_ms, boot_offset_ms;

static void read_offsets(void) {
    static int64_t read_at = -1;
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    int64_t ms = now.tv_sec * 1000 + now.tv_nsec / 1000000;
    if (read_at >= 0 && ms - read_at < 20) return;
    read_at = ms;
    char path[PATH_MAX], text[64] = {0}, *rest;
    if (!in_dir(path, "clock")) return;
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        wall_offset_ms = boot_offset_ms = 0;
        return;
    }
    if (syscall(SYS_read, fd, text, sizeof text - 1) > 0) {
        wall_offset_ms = strtoll(text, &rest, 10);
        boot_offset_ms = strtoll(rest, NULL, 10);
    }
    syscall(SYS_close, fd);
}

int clock_gettime(clockid_t id, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, id, time);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_BOOTTIME)) {
        read_offsets();
        int64_t offset = id == CLOCK_REALTIME ? wall_offset_ms : boot_offset_ms;
        int64_t nanos = time->tv_nsec + offset % 1000 * 1000000;
        time->tv_sec += offset / 1000 + (nanos < 0 ? -1 : nanos / 1000000000);
        time->tv_nsec = (nanos + 1000000000) % 1000000000;
    }
    return result;
}

// Power: what was written since the last sync can be taken back. FAULT_DIR/undo is a list of
//   W sequence old-size offset old-length path-length | path | old bytes      before a write
//   S sequence path-length | path                                             all writes to it up to that one are durable

struct entry {
    char kind;
    uint64_t sequence, old_size, offset, old_length, path_length;
};

static uint64_t sequence;

// The path of a regular file below FAULT_DATA, or 0.
static int watched(int fd, char *path) {
    const char *data = getenv("FAULT_DATA");
    if (data == NULL || !is_on("power")) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    struct stat stat;
    return strncmp(path, data, strlen(data)) == 0 && fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode);
}

static void append(const struct entry *entry, const char *path, const void *old) {
    char undo[PATH_MAX];
    if (!in_dir(undo, "undo")) return;
    int fd = syscall(SYS_openat, AT_FDCWD, undo, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    struct iovec parts[3] = {{(void *)entry, sizeof *entry}, {(void *)path, entry->path_length}, {(void *)old, entry->old_length}};
    if (fd < 0 || syscall(SYS_writev, fd, parts, 3) < 0) abort();
    syscall(SYS_close, fd);
}

static void before_write(int fd, size_t length, off_t offset) {
    char path[PATH_MAX];
    if (length == 0 || !watched(fd, path)) return;
    // The descriptor may be open for writing only.
    int again = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (again < 0 || fstat(again, &stat) != 0) abort();
    char *old = malloc(length);
    ssize_t kept = syscall(SYS_pread64, again, old, length, offset);
    syscall(SYS_close, again);
    struct entry entry = {'W', sequence++, stat.st_size, offset, kept > 0 ? kept : 0, strlen(path)};
    append(&entry, path, old);
    free(old);
}

static ssize_t fails(void) {
    if (!is_on("full")) return 0;
    errno = ENOSPC;
    return -1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
    if (fails()) return -1;
    pthread_mutex_lock(&lock);
    before_write(fd, length, offset);
    ssize_t written = syscall(SYS_pwrite64, fd, bytes, length, offset);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return pwrite64(fd, bytes, length, offset);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    pthread_mutex_lock(&lock);
    off_t offset = syscall(SYS_lseek, fd, 0, SEEK_CUR);
    if (offset >= 0) before_write(fd, length, offset);
    ssize_t written = syscall(SYS_write, fd, bytes, length);
    pthread_mutex_unlock(&lock);
    return written;
}

// What of a mapped file has reached the disk is kept in FAULT_DIR/mapped-NAME; `cut_power` puts it in the file's place.
int msync(void *address, size_t length, int flags) {
    int result = syscall(SYS_msync, address, length, flags);
    const char *data = getenv("FAULT_DATA");
    FILE *maps = result == 0 && data != NULL && is_on("power") ? fopen("/proc/self/maps", "re") : NULL;
    if (maps == NULL) return result;
    char line[PATH_MAX + 128];
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to, offset;
        int at = 0;
        if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %n", &from, &to, &offset, &at) < 3 || at == 0) continue;
        line[strcspn(line, "\n")] = 0;
        char *path = line + at, kept[PATH_MAX], name[NAME_MAX + 16];
        uintptr_t start = (uintptr_t)address;
        if (start < from || start >= to || strncmp(path, data, strlen(data)) != 0) continue;
        snprintf(name, sizeof name, "mapped-%s", strrchr(path, '/') + 1);
        if (!in_dir(kept, name)) break;
        size_t within = to - start < length ? to - start : length;
        int fd = syscall(SYS_openat, AT_FDCWD, kept, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || syscall(SYS_pwrite64, fd, address, within, start - from + offset) < 0) abort();
        syscall(SYS_close, fd);
        break;
    }
    fclose(maps);
    return result;
}

static int sync_with(long call, int fd) {
    if (is_on("sync-fails")) {
        errno = EIO;
        return -1;
    }
    char path[PATH_MAX];
    int is_watched = watched(fd, path);
    pthread_mutex_lock(&lock);
    uint64_t upto = sequence;
    pthread_mutex_unlock(&lock);
    int result = syscall(call, fd);
    if (result == 0 && is_watched) {
        pthread_mutex_lock(&lock);
        struct entry entry = {'S', upto, 0, 0, 0, strlen(path)};
        append(&entry, path, NULL);
        pthread_mutex_unlock(&lock);
    }
    return result;
}

int fdatasync(int fd) { return sync_with(SYS_fdatasync, fd); }

int fsync(int fd) { return sync_with(SYS_fsync, fd); }

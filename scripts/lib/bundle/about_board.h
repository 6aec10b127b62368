/* Describes a board without a model: runtime, driver, chip, memory for the NPU, clock of the NPU, and the programs that
 * use the NPU or the camera.
 *
 *   about_board(stdout);
 *
 * prints one line of JSON. A value that is not known is null.
 *   runtime        version of the runtime that this program uses: the linked archive or the loaded library
 *   libraries      [[path, version], ...] of each librknnmrt.so in the folders that programs search
 *   driver         version of the NPU driver
 *   chip, board    last `compatible` of the device tree without "rockchip,"; `model` of the device tree
 *   cma_total_kb, cma_free_kb    CMA memory, from which NPU and camera allocate their buffers
 *   npu_mhz        current clock of the NPU
 *   holders        [[name, pid, camera, npu], ...]: programs that have the camera or the NPU open; 1 for which of them
 *
 * For tests: $BOARD_ROOT is a prefix for the paths of /proc, /sys, /dev and the libraries.
 */
#ifndef ABOUT_BOARD_H
#define ABOUT_BOARD_H

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ABOUT_PATH = 512, ABOUT_TEXT = 128 };

/* Prints a JSON string. */
static void json_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if ((unsigned char)*text < 32) fprintf(out, "\\u%04x", (unsigned)*text);
        else if (*text == '"' || *text == '\\') fprintf(out, "\\%c", *text);
        else fputc(*text, out);
    }
    fputc('"', out);
}

static void about_text_or_null(FILE *out, const char *key, const char *text)
{
    fprintf(out, ", \"%s\": ", key);
    if (*text) json_text(out, text);
    else fputs("null", out);
}

static void about_number_or_null(FILE *out, const char *key, long number)
{
    fprintf(out, number < 0 ? ", \"%s\": null" : ", \"%s\": %ld", key, number);
}

/* Returns the path of the file `name`, with $BOARD_ROOT before it. */
static const char *about_path(char path[ABOUT_PATH], const char *name)
{
    const char *root = getenv("BOARD_ROOT");
    snprintf(path, ABOUT_PATH, "%s%s", root ? root : "", name);
    return path;
}

/* Reads the start of a file and appends a NUL. Returns the number of bytes; 0 if the file cannot be read. */
static size_t about_read(const char *name, char *bytes, size_t capacity)
{
    char path[ABOUT_PATH];
    FILE *file = fopen(about_path(path, name), "rb");
    size_t count = 0;
    if (file) {
        count = fread(bytes, 1, capacity - 1, file);
        fclose(file);
    }
    bytes[count] = '\0';
    return count;
}

/* Finds the version text of the runtime in a file (a program or a library): "2.3.2 (429f97ae6b@2025-04-09T09:11:49)".
 * Returns 1, or 0 if the file has none. */
static int about_runtime_in(const char *path, char version[ABOUT_TEXT])
{
    static const char mark[] = "librknnmrt version: ";
    FILE *file = fopen(path, "rb");
    size_t matched = 0, length = 0;
    int byte;
    version[0] = '\0';
    if (!file) return 0;
    while ((byte = fgetc(file)) != EOF) {
        if (mark[matched]) {
            if (byte == mark[matched]) matched++;
            else matched = byte == mark[0];
        } else if (length + 1 < ABOUT_TEXT && isprint(byte) && (length || isdigit(byte))) {
            version[length++] = (char)byte;
            if (byte == ')') break;
        } else if (length) break;
        else matched = byte == mark[0]; /* not a version, but for example `mark` itself in a program with this code */
    }
    fclose(file);
    version[length] = '\0';
    return length > 0;
}

/* Finds the version of the runtime that this program uses: of the loaded library, or of the archive linked into it. */
static void about_own_runtime(char version[ABOUT_TEXT])
{
    char line[ABOUT_PATH + 128], *path;
    FILE *maps = fopen("/proc/self/maps", "r");
    int known = 0;
    version[0] = '\0';
    while (maps && !known && fgets(line, sizeof line, maps)) {
        line[strcspn(line, "\n")] = '\0';
        if (strstr(line, "librknnmrt") && (path = strchr(line, '/'))) known = about_runtime_in(path, version);
    }
    if (maps) fclose(maps);
    if (!known) about_runtime_in("/proc/self/exe", version);
}

/* Prints the path and version of a folder's runtime, if it has one, and counts it. */
static void about_library(FILE *out, const char *folder, size_t length, int *count)
{
    char name[ABOUT_PATH], path[ABOUT_PATH], version[ABOUT_TEXT];
    snprintf(name, sizeof name, "%.*s/librknnmrt.so", (int)length, folder);
    if (!about_runtime_in(about_path(path, name), version)) return;
    fputs((*count)++ ? ", [" : "[", out);
    json_text(out, name);
    fputs(", ", out);
    json_text(out, version);
    fputc(']', out);
}

/* Prints the runtimes in the folders in which programs search for libraries. */
static void about_libraries(FILE *out)
{
    static const char *const folders[] = {"/oem/usr/lib", "/usr/lib", "/lib", "/usr/local/lib"};
    const char *path = getenv("LD_LIBRARY_PATH");
    size_t i;
    int count = 0;
    fputs(", \"libraries\": [", out);
    while (path && *path) {
        const size_t length = strcspn(path, ":");
        int standard = *path != '/';
        for (i = 0; i < sizeof folders / sizeof *folders; i++)
            if (strlen(folders[i]) == length && strncmp(folders[i], path, length) == 0) standard = 1;
        if (!standard) about_library(out, path, length, &count);
        path += length + (path[length] == ':');
    }
    for (i = 0; i < sizeof folders / sizeof *folders; i++)
        about_library(out, folders[i], strlen(folders[i]), &count);
    fputc(']', out);
}

/* Sends RKNPU_ACTION (rknpu_ioctl.h of Rockchip's kernel) to /dev/rknpu. Returns the driver's answer, or -1 on
 * error. */
static long about_driver(uint32_t action)
{
    struct {
        uint32_t flags, value;
    } question;
    char path[ABOUT_PATH];
    const int device = open(about_path(path, "/dev/rknpu"), O_RDWR);
    int status;
    question.flags = action;
    question.value = 0;
    if (device < 0) return -1;
    status = ioctl(device, _IOWR('r', 0, question), &question);
    close(device);
    return status == 0 && question.value ? (long)question.value : -1;
}

/* Reads the driver's file `name` from debugfs or /proc. Returns 1, or 0 if there is none. */
static int about_driver_file(const char *name, char text[ABOUT_TEXT])
{
    static const char *const folders[] = {"/sys/kernel/debug/rknpu", "/proc/rknpu"};
    char path[ABOUT_PATH];
    size_t i;
    for (i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%s/%s", folders[i], name);
        if (about_read(path, text, ABOUT_TEXT)) return 1;
    }
    return 0;
}

/* Prints the driver's version and the NPU's clock. */
static void about_npu(FILE *out)
{
    char text[ABOUT_TEXT], *digits = text;
    long version = about_driver(1), hertz = about_driver(2);
    if (version > 0) snprintf(text, sizeof text, "%ld.%ld.%ld", version / 10000, version / 100 % 100, version % 100);
    else if (about_driver_file("version", text)) { /* "RKNPU driver: v0.9.2" */
        while (*digits && !isdigit((unsigned char)*digits)) digits++;
        digits[strspn(digits, "0123456789.")] = '\0';
    } else text[0] = '\0';
    about_text_or_null(out, "driver", digits);
    if (hertz < 0 && (about_driver_file("freq", text) || about_read("/sys/class/devfreq/ff660000.npu/cur_freq", text,
                                                                    sizeof text)))
        hertz = strtol(text, NULL, 10);
    about_number_or_null(out, "npu_mhz", hertz > 0 ? (hertz + 500000) / 1000000 : -1);
}

/* Prints chip and board. */
static void about_device_tree(FILE *out)
{
    char words[ABOUT_PATH], model[ABOUT_TEXT];
    const char *last = words, *word;
    const size_t length = about_read("/proc/device-tree/compatible", words, sizeof words);
    for (word = words; word < words + length; word += strlen(word) + 1)
        if (*word) last = word;
    if (strncmp(last, "rockchip,", 9) == 0) last += 9;
    about_text_or_null(out, "chip", last);
    about_read("/proc/device-tree/model", model, sizeof model);
    about_text_or_null(out, "board", model);
}

/* Returns the value of a line of /proc/meminfo in KB, or -1 if there is none. */
static long about_memory(const char *key)
{
    char path[ABOUT_PATH], line[ABOUT_TEXT];
    FILE *file = fopen(about_path(path, "/proc/meminfo"), "r");
    long value = -1;
    while (file && value < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0) value = strtol(line + strlen(key), NULL, 10);
    if (file) fclose(file);
    return value;
}

/* Returns what a process has open: 1 the camera, 2 the NPU, 3 both, 0 neither. */
static int about_held_by(const char *process)
{
    char folder[ABOUT_PATH], path[ABOUT_PATH + 300], target[ABOUT_TEXT];
    const struct dirent *entry;
    DIR *files = opendir(about_path(folder, process));
    int held = 0;
    while (files && (entry = readdir(files))) {
        ssize_t length;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if ((length = readlink(path, target, sizeof target - 1)) < 0) continue;
        target[length] = '\0';
        if (!strncmp(target, "/dev/video", 10) || !strncmp(target, "/dev/media", 10)) held |= 1;
        if (!strcmp(target, "/dev/rknpu")) held |= 2;
    }
    if (files) closedir(files);
    return held;
}

/* Prints the programs that have the camera or the NPU open. */
static void about_holders(FILE *out)
{
    char path[ABOUT_PATH], name[ABOUT_TEXT];
    const struct dirent *entry;
    DIR *processes = opendir(about_path(path, "/proc"));
    int count = 0;
    fputs(", \"holders\": [", out);
    while (processes && (entry = readdir(processes))) {
        const long pid = strtol(entry->d_name, NULL, 10);
        int held;
        if (pid <= 0 || pid == (long)getpid()) continue;
        snprintf(path, sizeof path, "/proc/%ld/comm", pid);
        about_read(path, name, sizeof name);
        name[strcspn(name, "\n")] = '\0';
        snprintf(path, sizeof path, "/proc/%ld/fd", pid);
        /* rkipc takes images through Rockchip's media modules, without /dev/video. */
        held = about_held_by(path) | (strcmp(name, "rkipc") == 0);
        if (!held) continue;
        fputs(count++ ? ", [" : "[", out);
        json_text(out, name);
        fprintf(out, ", %ld, %d, %d]", pid, held & 1, held >> 1);
    }
    if (processes) closedir(processes);
    fputc(']', out);
}

/* Prints the line of JSON to `out`; the caller checks `out` for errors. */
static void about_board(FILE *out)
{
    char version[ABOUT_TEXT];
    about_own_runtime(version);
    fputs("{\"runtime\": ", out);
    if (*version) json_text(out, version);
    else fputs("null", out);
    about_libraries(out);
    about_npu(out);
    about_device_tree(out);
    about_number_or_null(out, "cma_total_kb", about_memory("CmaTotal:"));
    about_number_or_null(out, "cma_free_kb", about_memory("CmaFree:"));
    about_holders(out);
    fputs("}\n", out);
}

#endif

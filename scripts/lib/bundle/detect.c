/* Runs model.rknn on the board and prints the detections, one line of JSON per image. Uses only the zero-copy API.
 *
 *   detect [OPTIONS] MODEL.rknn FILE.rgb ...   letterboxed images: height x width x channels bytes, in the order of the
 *                                              model's channels
 *   detect [OPTIONS] MODEL.rknn < STREAM       many images: each has a line `WIDTH HEIGHT NAME`, then its bytes
 *   detect --repeat N MODEL.rknn               only measures time: N calls of rknn_run on a grey image
 *   detect --version                           describes the board, without a model; about_board.h explains the line
 *
 *   --image WxH        size of the image before the letterbox, for FILEs (a STREAM has it in its lines); default: the
 *                      size of the input
 *   --confidence X     keep scores above X, 0 or more; default: as in model.h
 *   --iou X            NMS: drop boxes whose IoU with a better box of their class is above X; default: as in model.h
 *   --raw DIR          also write the raw outputs: DIR/NUMBER_output_N.bin; NUMBER counts the images from 0
 *
 * Standard output has only these lines. The runtime's own output and the error message go to standard error.
 *   {"runtime": "2.3.2 ...", "driver": "0.9.2", "init_us": 35000}
 *   {"image": "a.jpg", "run_us": 26000, "decode_us": 800, "detections": [[class, score, x1, y1, x2, y2], ...]}
 *   {"run_us": [26000, ...]}                   with --repeat, instead of images
 *   {"images": 64}                             the last line, when all images are done
 * If the model has a task, a list of its values follows y2; decode_us includes the time for them. Times are in
 * microseconds, boxes in pixels of the image before the letterbox. For a classifier, the detections are its best
 * classes: the score is the probability, the box is the part of the image in the input, the list holds the model's value.
 */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64 /* otherwise readdir fails on some file systems */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "about_board.h"
#include "detector.h"
#include "model.h"

/* Exit status on error. USAGE: invalid arguments, or no model file; NOT_WRITTEN: results cannot be written (disk full);
 * BAD_IMAGE: an image is missing or has the wrong size. The others are the errors of detector.h. */
enum { USAGE = 2, MODEL_REFUSED = 3, OLD_RUNTIME = 4, OTHER_MODEL = 5, RUN_FAILED = 6, NOT_WRITTEN = 7, BAD_IMAGE = 8 };

enum { CANDIDATES = 30000, NAME_SIZE = 1024, GREY = 114 };

typedef struct {
    const char *raw;
    float confidence, iou;
    int width, height;
    long repeat;
} options;

static rv1106_candidate candidates[CANDIDATES];
static rv1106_detection detections[RV1106_MODEL_MOST];
static uint8_t image[RV1106_MODEL_INPUT_BYTES + 1]; /* 1 extra byte, to detect files that are too long */
static FILE *results;

/* Prints an error message and ends the program with exit status `status`. */
#ifdef __GNUC__
__attribute__((format(printf, 2, 3), noreturn))
#endif
static void fail(int status, const char *format, ...)
{
    va_list words;
    fputs("detect: ", stderr);
    va_start(words, format);
    vfprintf(stderr, format, words);
    va_end(words);
    fputc('\n', stderr);
    exit(status);
}

static long long now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Reserves standard output for the results: the runtime also prints to stdout, and that would mix with the lines. */
static void open_results(void)
{
    const int kept = dup(STDOUT_FILENO);
    if (kept < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0 || !(results = fdopen(kept, "w")))
        fail(NOT_WRITTEN, "standard output cannot be opened: %s", strerror(errno));
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* the runtime's lines appear before our error message */
}

/* Ends a line of results; ends the program if it cannot be written. */
static void end_line(void)
{
    if (fputc('\n', results) == EOF || fflush(results) || ferror(results))
        fail(NOT_WRITTEN, "the results cannot be written: %s", strerror(errno));
}

/* Ends the program if `status` is an error code of the detector. */
static void demand(const rv1106_detector *detector, int status)
{
    switch (status) {
    case 0: return;
    case RV1106_NO_FILE: fail(USAGE, "%s", detector->error);
    case RV1106_REFUSED: fail(MODEL_REFUSED, "%s", detector->error);
    case RV1106_OLD_RUNTIME: fail(OLD_RUNTIME, "%s", detector->error);
    case RV1106_RUN_FAILED: fail(RUN_FAILED, "%s", detector->error);
    default: fail(OTHER_MODEL, "%s", detector->error);
    }
}

/* Opens the model and prints the first line. */
static void open_model(rv1106_detector *detector, const char *path)
{
    demand(detector, rv1106_open(detector, path, &RV1106_MODEL));
    fputs("{\"runtime\": ", results);
    json_text(results, detector->runtime);
    fputs(", \"driver\": ", results);
    json_text(results, detector->driver);
    fprintf(results, ", \"init_us\": %lld}", detector->open_us);
    end_line();
}

/* Runs the model on `image`. Returns the duration of rknn_run in microseconds. */
static long long run_model(rv1106_detector *detector)
{
    rv1106_copy_input(detector, image);
    demand(detector, rv1106_run(detector));
    return detector->run_us;
}

/* Writes the raw outputs of image number `number`. */
static void write_raw(rv1106_detector *detector, const char *folder, int number)
{
    char path[NAME_SIZE];
    FILE *file;
    int i;
    for (i = 0; i < RV1106_MODEL.output_count; i++) {
        const int length = snprintf(path, sizeof path, "%s/%d_output_%d.bin", folder, number, i);
        if (length < 0 || length >= (int)sizeof path) fail(USAGE, "the path of --raw is too long");
        if (!(file = fopen(path, "wb"))) fail(NOT_WRITTEN, "%s cannot be written: %s", path, strerror(errno));
        if (fwrite(detector->buffers[i], 1, detector->sizes[i], file) != detector->sizes[i] || fclose(file))
            fail(NOT_WRITTEN, "%s cannot be written: %s", path, strerror(errno));
    }
}

static void print_value(void *to, double value, int decimals)
{
    int *printed = to;
    fprintf(results, decimals ? "%s%.9g" : "%s%.0f", (*printed)++ ? ", " : "", value);
}

/* Prints the task's values of a detection as a list. */
static void print_values(rv1106_detector *detector, const rv1106_letterbox *fit, const rv1106_detection *detection)
{
    int printed = 0;
    const rv1106_sink sink = {print_value, &printed};
    fputs(", [", results);
    RV1106_MODEL.task->values(&detector->decoder, detector->buffers, fit, detection, &sink);
    fputc(']', results);
}

static void add_value(void *to, double value, int decimals)
{
    (void)decimals;
    *(volatile double *)to += value;
}

/* Computes the task's values of a detection without printing them, to measure the time. */
static void read_values(rv1106_detector *detector, const rv1106_letterbox *fit, const rv1106_detection *detection)
{
    double sum = 0;
    const rv1106_sink sink = {add_value, &sum};
    RV1106_MODEL.task->values(&detector->decoder, detector->buffers, fit, detection, &sink);
}

/* Runs the model on `image`, which was `width` x `height` pixels before the letterbox, and prints its detections. */
static void detect(rv1106_detector *detector, const options *wanted, const char *name, int width, int height,
                   int number)
{
    const rv1106_letterbox fit = rv1106_fit(&RV1106_MODEL, width, height);
    const long long run = run_model(detector), start = now_us();
    const int count = rv1106_detections(detector, wanted->confidence, wanted->iou, &fit, candidates, CANDIDATES,
                                        detections, RV1106_MODEL_MOST);
    long long used;
    int i;
    for (i = 0; RV1106_MODEL.task && i < count; i++) read_values(detector, &fit, &detections[i]);
    used = now_us() - start;
    if (count < 0) fail(OTHER_MODEL, "%s cannot be decoded: %s", name, rv1106_message(count));
    if (wanted->raw) write_raw(detector, wanted->raw, number);
    fputs("{\"image\": ", results);
    json_text(results, name);
    fprintf(results, ", \"run_us\": %lld, \"decode_us\": %lld, \"detections\": [", run, used);
    for (i = 0; i < count; i++) {
        fprintf(results, "%s[%d, %.9g, %.9g, %.9g, %.9g, %.9g", i ? ", " : "", detections[i].class_id,
                (double)detections[i].score, (double)detections[i].x1, (double)detections[i].y1,
                (double)detections[i].x2, (double)detections[i].y2);
        if (RV1106_MODEL.task) print_values(detector, &fit, &detections[i]);
        fputc(']', results);
    }
    fputs("]}", results);
    end_line();
}

static void detect_file(rv1106_detector *detector, const options *wanted, const char *path, int number)
{
    FILE *file = fopen(path, "rb");
    size_t size;
    if (!file) fail(BAD_IMAGE, "%s cannot be read: %s", path, strerror(errno));
    size = fread(image, 1, sizeof image, file);
    fclose(file);
    if (size != RV1106_MODEL_INPUT_BYTES)
        fail(BAD_IMAGE, "%s does not have the %d bytes of a letterboxed image", path, RV1106_MODEL_INPUT_BYTES);
    detect(detector, wanted, path, wanted->width, wanted->height, number);
}

/* Processes the stream on standard input. Returns the number of its images. */
static int detect_stream(rv1106_detector *detector, const options *wanted)
{
    char line[NAME_SIZE];
    int number = 0, width, height, begin;
    for (; fgets(line, sizeof line, stdin); number++) {
        char *end = strchr(line, '\n');
        begin = 0;
        if (!end || sscanf(line, "%d %d %n", &width, &height, &begin) != 2 || !begin || width < 1 || height < 1)
            fail(BAD_IMAGE, "image %d of the stream does not begin with a line WIDTH HEIGHT NAME", number);
        *end = '\0';
        if (fread(image, 1, RV1106_MODEL_INPUT_BYTES, stdin) != RV1106_MODEL_INPUT_BYTES)
            fail(BAD_IMAGE, "the stream ends inside image %d, %s", number, line + begin);
        detect(detector, wanted, line + begin, width, height, number);
    }
    return number;
}

/* Measures `repeat` calls of rknn_run on a grey image. */
static void measure(rv1106_detector *detector, long repeat)
{
    long i;
    memset(image, GREY, sizeof image);
    run_model(detector); /* the first run takes longer */
    fputs("{\"run_us\": [", results);
    for (i = 0; i < repeat; i++) fprintf(results, "%s%lld", i ? ", " : "", run_model(detector));
    fputs("]}", results);
    end_line();
}

/* Reads the options into `wanted`. Returns the index of the first argument after them. */
static int read_options(int argc, char **argv, options *wanted)
{
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        const char *name = argv[at], *value = at + 1 < argc ? argv[at + 1] : "";
        char *end = NULL, rest;
        int good = 0;
        if (!strcmp(name, "--raw")) good = *(wanted->raw = value) != '\0';
        else if (!strcmp(name, "--image"))
            good = sscanf(value, "%dx%d%c", &wanted->width, &wanted->height, &rest) == 2 && wanted->width > 0 &&
                   wanted->height > 0;
        else if (!strcmp(name, "--confidence"))
            good = (wanted->confidence = strtof(value, &end)) >= 0 && end != value && !*end;
        else if (!strcmp(name, "--iou")) good = (wanted->iou = strtof(value, &end)) >= 0 && end != value && !*end;
        else if (!strcmp(name, "--repeat")) good = (wanted->repeat = strtol(value, &end, 10)) > 0 && !*end;
        if (!good) fail(USAGE, "invalid option '%s %s'; see the comment at the top of detect.c", name, value);
    }
    if (at >= argc) fail(USAGE, "MODEL.rknn is missing; see the comment at the top of detect.c");
    return at;
}

/* Prints the line of `detect --version`. */
static void print_version(void)
{
    about_board(results);
    if (fflush(results) || ferror(results)) fail(NOT_WRITTEN, "the results cannot be written: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    options wanted = {NULL, RV1106_MODEL_CONFIDENCE, RV1106_MODEL_IOU, 0, 0, 0};
    const int version = argc == 2 && strcmp(argv[1], "--version") == 0;
    const int at = version ? 2 : read_options(argc, argv, &wanted);
    static rv1106_detector detector;
    int images = 0;
    if (!wanted.width) {
        wanted.width = RV1106_MODEL.width;
        wanted.height = RV1106_MODEL.height;
    }
    open_results();
    if (version) {
        print_version();
        return 0;
    }
    open_model(&detector, argv[at]);
    if (wanted.repeat) measure(&detector, wanted.repeat);
    else if (at + 1 == argc) images = detect_stream(&detector, &wanted);
    for (; !wanted.repeat && at + 1 + images < argc; images++)
        detect_file(&detector, &wanted, argv[at + 1 + images], images);
    fprintf(results, "{\"images\": %d}", images);
    end_line();
    rv1106_close(&detector);
    return 0;
}

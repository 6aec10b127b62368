/* Runs model.rknn on the board and prints what it detects, a line of JSON an image; with zero-copy calls alone.
 *
 *   detect [OPTIONS] MODEL.rknn FILE.rgb ...   letterboxed images: height x width x channels bytes, as the model wants
 *   detect [OPTIONS] MODEL.rknn < STREAM       many: a line `WIDTH HEIGHT NAME`, then the bytes, again and again
 *   detect --repeat N MODEL.rknn               times alone: rknn_run N times on a grey image
 *
 *   --image WxH      size of the image before the letterbox, for FILEs (a STREAM's lines say it); the input's
 *   --confidence X     keep scores above X; the contract's
 *   --iou X            drop boxes that overlap a better one of their class by more; the contract's
 *   --raw DIR          also write the outputs as they lie in memory: DIR/NUMBER_output_N.bin, images counted from 0
 *
 * Lines on standard output; whatever the runtime prints goes to standard error, as does what is wrong, in one sentence:
 *   {"runtime": "2.3.2 ...", "driver": "0.9.2", "init_us": 35000}
 *   {"image": "a.jpg", "run_us": 26000, "decode_us": 800, "detections": [[class, score, x1, y1, x2, y2], ...]}
 *   {"run_us": [26000, ...]}                   with --repeat, instead of images
 *   {"images": 64}                             the last line: all is done
 * Behind y2 stands a list of what the model's task adds, where it adds something; decode_us is with it.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "model.h"
#include "rknn_api.h"

/* How it ends when something is wrong; whoever starts it tells by this number what it was. */
enum { USAGE = 2, MODEL_REFUSED = 3, OLD_RUNTIME = 4, OTHER_MODEL = 5, RUN_FAILED = 6, NOT_WRITTEN = 7, BAD_IMAGE = 8 };

enum { CANDIDATES = 30000, NAME_SIZE = 1024, GREY = 114 };

typedef struct {
    rknn_context context;
    rknn_tensor_mem *input, *outputs[RV1106_MAX_OUTPUTS];
    const int8_t *buffers[RV1106_MAX_OUTPUTS];
    size_t sizes[RV1106_MAX_OUTPUTS], channels, row;
    rv1106_decoder decoder;
} board_model;

typedef struct {
    const char *raw;
    float confidence, iou;
    int width, height;
    long repeat;
} options;

static rv1106_candidate candidates[CANDIDATES];
static rv1106_detection detections[RV1106_MODEL_MOST];
static uint8_t image[RV1106_MODEL_INPUT_BYTES + 1]; /* one more, to see that a file is too long */
static FILE *results;

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

/* Standard output for results alone: the runtime prints to it as well, and that would stand between the lines. */
static void open_results(void)
{
    const int kept = dup(STDOUT_FILENO);
    if (kept < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0 || !(results = fdopen(kept, "w")))
        fail(NOT_WRITTEN, "standard output cannot be opened: %s", strerror(errno));
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* the runtime's lines where they belong, before ours that end the program */
}

static void end_line(void)
{
    if (fputc('\n', results) == EOF || fflush(results) || ferror(results))
        fail(NOT_WRITTEN, "the results cannot be written: %s", strerror(errno));
}

static void print_text(const char *text)
{
    fputc('"', results);
    for (; *text; text++) {
        if ((unsigned char)*text < 32) fprintf(results, "\\u%04x", (unsigned)*text);
        else if (*text == '"' || *text == '\\') fprintf(results, "\\%c", *text);
        else fputc(*text, results);
    }
    fputc('"', results);
}

/* The runtime reads models of its own version and older ones. */
static void check_version(const rknn_sdk_version *version)
{
    int found[3], needed[3], i;
    if (sscanf(version->api_version, "%d.%d.%d", &found[0], &found[1], &found[2]) != 3 ||
        sscanf(RV1106_MODEL_TOOLKIT, "%d.%d.%d", &needed[0], &needed[1], &needed[2]) != 3)
        fail(OLD_RUNTIME, "the runtime's version '%s' is not understood", version->api_version);
    for (i = 0; i < 2 && found[i] == needed[i]; i++) continue;
    if (found[i] < needed[i])
        fail(OLD_RUNTIME, "the runtime is version %d.%d.%d, the model was built with toolkit %s: take its librknnmrt",
             found[0], found[1], found[2], RV1106_MODEL_TOOLKIT);
}

static rknn_tensor_attr query(const board_model *model, rknn_query_cmd which, int index)
{
    rknn_tensor_attr attr;
    int status;
    memset(&attr, 0, sizeof attr);
    attr.index = (uint32_t)index;
    if ((status = rknn_query(model->context, which, &attr, sizeof attr)) != RKNN_SUCC)
        fail(OTHER_MODEL, "the runtime tells nothing of tensor %d: rknn_query gives %d", index, status);
    return attr;
}

static rknn_tensor_mem *bind_memory(const board_model *model, rknn_tensor_attr *attr)
{
    rknn_tensor_mem *memory = rknn_create_mem(model->context, attr->size_with_stride);
    int status;
    if (!memory)
        fail(RUN_FAILED, "no memory for %u bytes: the board's CMA is too small", (unsigned)attr->size_with_stride);
    if ((status = rknn_set_io_mem(model->context, memory, attr)) != RKNN_SUCC)
        fail(RUN_FAILED, "rknn_set_io_mem of tensor %u gives %d", (unsigned)attr->index, status);
    return memory;
}

#define SAME(what, index, found, expected, form)                                                                       \
    do {                                                                                                               \
        if ((found) != (expected))                                                                                     \
            fail(OTHER_MODEL, "%s of output %d is " form " on the board, " form " in model.h: they are of two builds", \
                 what, index, found, expected);                                                                        \
    } while (0)

/* What the runtime says of an output is what the decoder was made for. */
static void check_output(const rknn_tensor_attr *attr, const rv1106_output *expected, int i)
{
    const int blocked = expected->c2 > 1; /* NC1HWC2, or the NCHW of an output that the CPU makes */
    const int layout = blocked ? RKNN_TENSOR_NC1HWC2 : RKNN_TENSOR_NCHW;
    SAME("the layout (0 NCHW, 1 NHWC, 2 NC1HWC2)", i, (int)attr->fmt, layout, "%d");
    SAME("the type (2 INT8)", i, (int)attr->type, (int)RKNN_TENSOR_INT8, "%d");
    SAME("the number of dimensions", i, (int)attr->n_dims, blocked ? 5 : 4, "%d");
    SAME("C1", i, (int)attr->dims[1], expected->c1, "%d");
    SAME("the height", i, (int)attr->dims[2], expected->height, "%d");
    SAME("the width", i, (int)attr->dims[3], expected->width, "%d");
    if (blocked) SAME("C2", i, (int)attr->dims[4], expected->c2, "%d");
    SAME("the zero point", i, (int)attr->zp, expected->zero_point, "%d");
    SAME("the scale", i, (double)attr->scale, (double)expected->scale, "%.9g");
    if (attr->w_stride) SAME("the stride of a row", i, (int)attr->w_stride, expected->width, "%d");
    SAME("the size in bytes", i, (unsigned)attr->n_elems, (unsigned)rv1106_size(expected), "%u");
    if (attr->size_with_stride < attr->n_elems)
        fail(OTHER_MODEL, "output %d has %u bytes in a buffer of %u", i, (unsigned)attr->n_elems,
             (unsigned)attr->size_with_stride);
}

static void open_model(board_model *model, char *path)
{
    const rv1106_model *expected = &RV1106_MODEL;
    rknn_input_output_num number;
    rknn_sdk_version version;
    rknn_tensor_attr attr;
    const long long start = now_us();
    long long opened;
    int status, i;
    if (access(path, R_OK)) fail(USAGE, "%s cannot be read: %s", path, strerror(errno));
    if ((status = rknn_init(&model->context, path, 0, 0, NULL)) != RKNN_SUCC)
        fail(MODEL_REFUSED, "the runtime refuses %s: rknn_init gives %d", path, status);
    opened = now_us() - start;
    memset(&version, 0, sizeof version);
    if (rknn_query(model->context, RKNN_QUERY_SDK_VERSION, &version, sizeof version) != RKNN_SUCC)
        fail(OLD_RUNTIME, "the runtime does not tell its version");
    check_version(&version);
    if (rknn_query(model->context, RKNN_QUERY_IN_OUT_NUM, &number, sizeof number) != RKNN_SUCC ||
        number.n_input != 1 || (int)number.n_output != expected->output_count)
        fail(OTHER_MODEL, "%s has not the one input and %d outputs of model.h", path, expected->output_count);

    model->channels = RV1106_MODEL_INPUT_BYTES / ((size_t)expected->width * (size_t)expected->height);
    attr = query(model, RKNN_QUERY_NATIVE_INPUT_ATTR, 0);
    if (attr.fmt != RKNN_TENSOR_NHWC || attr.dims[1] != (uint32_t)expected->height ||
        attr.dims[2] != (uint32_t)expected->width || attr.dims[3] != model->channels)
        fail(OTHER_MODEL, "the input is %u x %u x %u on the board, %d x %d x %u in model.h", (unsigned)attr.dims[1],
             (unsigned)attr.dims[2], (unsigned)attr.dims[3], expected->height, expected->width,
             (unsigned)model->channels);
    attr.type = RKNN_TENSOR_UINT8; /* pixels 0 to 255; the NPU normalizes */
    attr.fmt = RKNN_TENSOR_NHWC;
    model->row = model->channels * (size_t)(attr.w_stride ? attr.w_stride : attr.dims[2]);
    if (model->row < model->channels * (size_t)expected->width ||
        attr.size_with_stride < model->row * (size_t)expected->height)
        fail(OTHER_MODEL, "the input's rows of %u pixels do not fit into its %u bytes", (unsigned)attr.w_stride,
             (unsigned)attr.size_with_stride);
    model->input = bind_memory(model, &attr);
    for (i = 0; i < expected->output_count; i++) {
        attr = query(model, RKNN_QUERY_NATIVE_OUTPUT_ATTR, i);
        check_output(&attr, &expected->outputs[i], i);
        model->outputs[i] = bind_memory(model, &attr);
        model->buffers[i] = model->outputs[i]->virt_addr;
        model->sizes[i] = attr.n_elems;
    }
    if ((status = rv1106_init(&model->decoder, expected)) != 0)
        fail(OTHER_MODEL, "model.h: %s", rv1106_message(status));
    fputs("{\"runtime\": ", results);
    print_text(version.api_version);
    fputs(", \"driver\": ", results);
    print_text(version.drv_version);
    fprintf(results, ", \"init_us\": %lld}", opened);
    end_line();
}

static void close_model(board_model *model)
{
    int i;
    rknn_destroy_mem(model->context, model->input);
    for (i = 0; i < RV1106_MODEL.output_count; i++) rknn_destroy_mem(model->context, model->outputs[i]);
    rknn_destroy(model->context);
}

/* Run the model on `image`; returns the time of rknn_run in microseconds. */
static long long run_model(const board_model *model)
{
    const size_t width = model->channels * (size_t)RV1106_MODEL.width;
    long long start, used;
    int y, i, status;
    for (y = 0; y < RV1106_MODEL.height; y++)
        memcpy((uint8_t *)model->input->virt_addr + (size_t)y * model->row, image + (size_t)y * width, width);
    rknn_mem_sync(model->context, model->input, RKNN_MEMORY_SYNC_TO_DEVICE);
    start = now_us();
    status = rknn_run(model->context, NULL);
    used = now_us() - start;
    if (status != RKNN_SUCC) fail(RUN_FAILED, "rknn_run gives %d", status);
    for (i = 0; i < RV1106_MODEL.output_count; i++)
        rknn_mem_sync(model->context, model->outputs[i], RKNN_MEMORY_SYNC_FROM_DEVICE);
    return used;
}

static void write_raw(const board_model *model, const char *folder, int number)
{
    char path[NAME_SIZE];
    FILE *file;
    int i;
    for (i = 0; i < RV1106_MODEL.output_count; i++) {
        const int length = snprintf(path, sizeof path, "%s/%d_output_%d.bin", folder, number, i);
        if (length < 0 || length >= (int)sizeof path) fail(USAGE, "the name of --raw is too long");
        if (!(file = fopen(path, "wb"))) fail(NOT_WRITTEN, "%s cannot be written: %s", path, strerror(errno));
        if (fwrite(model->buffers[i], 1, model->sizes[i], file) != model->sizes[i] || fclose(file))
            fail(NOT_WRITTEN, "%s cannot be written: %s", path, strerror(errno));
    }
}

static void print_value(void *to, double value, int decimals)
{
    int *printed = to;
    fprintf(results, decimals ? "%s%.9g" : "%s%.0f", (*printed)++ ? ", " : "", value);
}

/* What the model's task adds to a detection, as a list. */
static void print_values(const board_model *model, const rv1106_letterbox *fit, const rv1106_detection *detection)
{
    int printed = 0;
    const rv1106_sink sink = {print_value, &printed};
    fputs(", [", results);
    RV1106_MODEL.task->values(&model->decoder, model->buffers, fit, detection, &sink);
    fputc(']', results);
}

static void add_value(void *to, double value, int decimals)
{
    (void)decimals;
    *(volatile double *)to += value;
}

/* As print_values, with nothing printed: for the time that it takes. */
static void read_values(const board_model *model, const rv1106_letterbox *fit, const rv1106_detection *detection)
{
    double sum = 0;
    const rv1106_sink sink = {add_value, &sum};
    RV1106_MODEL.task->values(&model->decoder, model->buffers, fit, detection, &sink);
}

/* Run the model on `image`, which was `width` x `height` pixels before its letterbox, and print what is found. */
static void detect(const board_model *model, const options *wanted, const char *name, int width, int height, int number)
{
    const rv1106_letterbox fit = rv1106_fit(&RV1106_MODEL, width, height);
    const long long run = run_model(model), start = now_us();
    const int count = rv1106_decode(&model->decoder, model->buffers, model->sizes, wanted->confidence, wanted->iou,
                                    &fit, candidates, CANDIDATES, detections, RV1106_MODEL_MOST);
    long long used;
    int i;
    for (i = 0; RV1106_MODEL.task && i < count; i++) read_values(model, &fit, &detections[i]);
    used = now_us() - start;
    if (count < 0) fail(OTHER_MODEL, "%s cannot be decoded: %s", name, rv1106_message(count));
    if (wanted->raw) write_raw(model, wanted->raw, number);
    fputs("{\"image\": ", results);
    print_text(name);
    fprintf(results, ", \"run_us\": %lld, \"decode_us\": %lld, \"detections\": [", run, used);
    for (i = 0; i < count; i++) {
        fprintf(results, "%s[%d, %.9g, %.9g, %.9g, %.9g, %.9g", i ? ", " : "", detections[i].class_id,
                (double)detections[i].score, (double)detections[i].x1, (double)detections[i].y1,
                (double)detections[i].x2, (double)detections[i].y2);
        if (RV1106_MODEL.task) print_values(model, &fit, &detections[i]);
        fputc(']', results);
    }
    fputs("]}", results);
    end_line();
}

static void detect_file(const board_model *model, const options *wanted, const char *path, int number)
{
    FILE *file = fopen(path, "rb");
    size_t size;
    if (!file) fail(BAD_IMAGE, "%s cannot be read: %s", path, strerror(errno));
    size = fread(image, 1, sizeof image, file);
    fclose(file);
    if (size != RV1106_MODEL_INPUT_BYTES)
        fail(BAD_IMAGE, "%s is not the %d bytes of a letterboxed image", path, RV1106_MODEL_INPUT_BYTES);
    detect(model, wanted, path, wanted->width, wanted->height, number);
}

/* Returns the number of images in the stream on standard input. */
static int detect_stream(const board_model *model, const options *wanted)
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
            fail(BAD_IMAGE, "the stream ends within image %d, %s", number, line + begin);
        detect(model, wanted, line + begin, width, height, number);
    }
    return number;
}

static void measure(const board_model *model, long repeat)
{
    long i;
    memset(image, GREY, sizeof image);
    run_model(model); /* the first one takes longer */
    fputs("{\"run_us\": [", results);
    for (i = 0; i < repeat; i++) fprintf(results, "%s%lld", i ? ", " : "", run_model(model));
    fputs("]}", results);
    end_line();
}

/* Reads the options into `wanted`; returns the index of the first word behind them. */
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
        if (!good) fail(USAGE, "'%s %s' is not understood; detect.c says what is", name, value);
    }
    if (at >= argc) fail(USAGE, "no MODEL.rknn is named; detect.c says how to call this");
    return at;
}

int main(int argc, char **argv)
{
    options wanted = {NULL, RV1106_MODEL_CONFIDENCE, RV1106_MODEL_IOU, 0, 0, 0};
    const int at = read_options(argc, argv, &wanted);
    static board_model model;
    int images = 0;
    if (!wanted.width) {
        wanted.width = RV1106_MODEL.width;
        wanted.height = RV1106_MODEL.height;
    }
    open_results();
    open_model(&model, argv[at]);
    if (wanted.repeat) measure(&model, wanted.repeat);
    else if (at + 1 == argc) images = detect_stream(&model, &wanted);
    for (; !wanted.repeat && at + 1 + images < argc; images++)
        detect_file(&model, &wanted, argv[at + 1 + images], images);
    fprintf(results, "{\"images\": %d}", images);
    end_line();
    close_model(&model);
    return 0;
}

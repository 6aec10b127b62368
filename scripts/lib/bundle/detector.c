/* See detector.h. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "detector.h"

/* Stores an error message in the detector. Returns `status`. */
#ifdef __GNUC__
__attribute__((format(printf, 3, 4)))
#endif
static int wrong(rv1106_detector *detector, int status, const char *format, ...)
{
    va_list words;
    va_start(words, format);
    vsnprintf(detector->error, sizeof detector->error, format, words);
    va_end(words);
    return status;
}

static long long now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Checks the versions: a runtime reads models of its own version and of older ones. Returns 0 or RV1106_OLD_RUNTIME. */
static int check_version(rv1106_detector *detector)
{
    const char *toolkit = detector->model->toolkit;
    int found[3], needed[3], i;
    if (sscanf(detector->runtime, "%d.%d.%d", &found[0], &found[1], &found[2]) != 3 ||
        sscanf(toolkit, "%d.%d.%d", &needed[0], &needed[1], &needed[2]) != 3)
        return wrong(detector, RV1106_OLD_RUNTIME, "the runtime reports an invalid version: '%s'", detector->runtime);
    for (i = 0; i < 2 && found[i] == needed[i]; i++) continue;
    if (found[i] >= needed[i]) return 0;
    return wrong(detector, RV1106_OLD_RUNTIME,
                 "the runtime is version %d.%d.%d, but the model was built with toolkit %s; use the librknnmrt of that "
                 "toolkit",
                 found[0], found[1], found[2], toolkit);
}

/* Gets the attributes of a tensor from the runtime. Returns 0 or RV1106_OTHER_MODEL. */
static int query(rv1106_detector *detector, rknn_query_cmd which, int index, rknn_tensor_attr *attr)
{
    int status;
    memset(attr, 0, sizeof *attr);
    attr->index = (uint32_t)index;
    if ((status = rknn_query(detector->context, which, attr, sizeof *attr)) == RKNN_SUCC) return 0;
    return wrong(detector, RV1106_OTHER_MODEL, "rknn_query returned error %d for tensor %d", status, index);
}

/* Allocates the memory of a tensor and binds it. Returns 0 or RV1106_RUN_FAILED. */
static int bind_memory(rv1106_detector *detector, rknn_tensor_attr *attr, rknn_tensor_mem **memory)
{
    int status;
    if (!(*memory = rknn_create_mem(detector->context, attr->size_with_stride)))
        return wrong(detector, RV1106_RUN_FAILED, "rknn_create_mem failed for %u bytes: probably too little free CMA",
                     (unsigned)attr->size_with_stride);
    if ((status = rknn_set_io_mem(detector->context, *memory, attr)) == RKNN_SUCC) return 0;
    return wrong(detector, RV1106_RUN_FAILED, "rknn_set_io_mem returned error %d for tensor %u", status,
                 (unsigned)attr->index);
}

#define SAME(what, index, found, expected, form)                                                                       \
    do {                                                                                                               \
        if ((found) != (expected))                                                                                     \
            return wrong(detector, RV1106_OTHER_MODEL,                                                                 \
                         "%s of output %d is " form " on the board, but " form                                         \
                         " in model.h; model.rknn and model.h are from different builds",                              \
                         what, index, found, expected);                                                                \
    } while (0)

/* Compares the runtime's attributes of a classifier's output with model.h. Its values follow each other in every layout,
 * so neither that nor the number of dimensions matters. Returns 0 or RV1106_OTHER_MODEL. */
static int check_vector(rv1106_detector *detector, const rknn_tensor_attr *attr, const rv1106_output *expected)
{
    if (attr->fmt == RKNN_TENSOR_NC1HWC2) {
        SAME("the height", 0, (int)attr->dims[2], 1, "%d");
        SAME("the width", 0, (int)attr->dims[3], 1, "%d");
    }
    SAME("the type (2 INT8)", 0, (int)attr->type, (int)RKNN_TENSOR_INT8, "%d");
    SAME("the zero point", 0, (int)attr->zp, expected->zero_point, "%d");
    SAME("the scale", 0, (double)attr->scale, (double)expected->scale, "%.9g");
    if (attr->n_elems >= rv1106_size(expected) && attr->size_with_stride >= attr->n_elems) return 0;
    return wrong(detector, RV1106_OTHER_MODEL, "output 0 has %u values in %u bytes, but model.h has %d classes",
                 (unsigned)attr->n_elems, (unsigned)attr->size_with_stride, expected->channels);
}

/* Compares the runtime's attributes of an output with model.h. Returns 0 or RV1106_OTHER_MODEL. */
static int check_output(rv1106_detector *detector, const rknn_tensor_attr *attr, const rv1106_output *expected, int i)
{
    const int blocked = expected->c2 > 1; /* NC1HWC2; an output that the CPU computes is NCHW */
    const int layout = blocked ? RKNN_TENSOR_NC1HWC2 : RKNN_TENSOR_NCHW;
    if (detector->model->head == RV1106_AS_IS) return check_vector(detector, attr, expected);
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
    if (attr->size_with_stride >= attr->n_elems) return 0;
    return wrong(detector, RV1106_OTHER_MODEL, "output %d needs %u bytes, but its buffer has only %u", i,
                 (unsigned)attr->n_elems, (unsigned)attr->size_with_stride);
}

/* Checks the input and allocates its memory. Returns 0 or an error code. */
static int open_input(rv1106_detector *detector)
{
    const rv1106_model *model = detector->model;
    const unsigned channels = model->channels == RV1106_GREY ? 1 : 3;
    rknn_tensor_attr attr;
    int status = query(detector, RKNN_QUERY_NATIVE_INPUT_ATTR, 0, &attr);
    if (status) return status;
    if (attr.fmt != RKNN_TENSOR_NHWC || attr.dims[1] != (uint32_t)model->height ||
        attr.dims[2] != (uint32_t)model->width || attr.dims[3] != channels)
        return wrong(detector, RV1106_OTHER_MODEL,
                     "the input is %u x %u x %u on the board, but %d x %d x %u in model.h", (unsigned)attr.dims[1],
                     (unsigned)attr.dims[2], (unsigned)attr.dims[3], model->height, model->width, channels);
    attr.type = RKNN_TENSOR_UINT8; /* pixels 0 to 255; the NPU normalizes */
    attr.fmt = RKNN_TENSOR_NHWC;
    detector->stride = channels * (size_t)(attr.w_stride ? attr.w_stride : attr.dims[2]);
    if (detector->stride < channels * (size_t)model->width ||
        attr.size_with_stride < detector->stride * (size_t)model->height)
        return wrong(detector, RV1106_OTHER_MODEL, "the input's rows of %u pixels do not fit into its %u bytes",
                     (unsigned)attr.w_stride, (unsigned)attr.size_with_stride);
    return bind_memory(detector, &attr, &detector->input);
}

/* Checks the outputs and allocates their memory. Returns 0 or an error code. */
static int open_outputs(rv1106_detector *detector)
{
    const rv1106_model *model = detector->model;
    rknn_tensor_attr attr;
    int i, status = 0;
    for (i = 0; i < model->output_count && !status; i++) {
        status = query(detector, RKNN_QUERY_NATIVE_OUTPUT_ATTR, i, &attr);
        if (!status) status = check_output(detector, &attr, &model->outputs[i], i);
        if (!status) status = bind_memory(detector, &attr, &detector->outputs[i]);
        if (status) break;
        detector->buffers[i] = (const int8_t *)detector->outputs[i]->virt_addr;
        detector->sizes[i] = rv1106_size(&model->outputs[i]);
    }
    return status;
}

/* Checks the opened model and prepares its tensors and the decoder. Returns 0 or an error code. */
static int open_tensors(rv1106_detector *detector, const char *path)
{
    const rv1106_model *model = detector->model;
    rknn_input_output_num number;
    rknn_sdk_version version;
    int status;
    memset(&version, 0, sizeof version);
    if (rknn_query(detector->context, RKNN_QUERY_SDK_VERSION, &version, sizeof version) != RKNN_SUCC)
        return wrong(detector, RV1106_OLD_RUNTIME, "the runtime does not report its version");
    memcpy(detector->runtime, version.api_version, sizeof detector->runtime);
    memcpy(detector->driver, version.drv_version, sizeof detector->driver);
    if ((status = check_version(detector)) != 0) return status;
    if (rknn_query(detector->context, RKNN_QUERY_IN_OUT_NUM, &number, sizeof number) != RKNN_SUCC ||
        number.n_input != 1 || (int)number.n_output != model->output_count)
        return wrong(detector, RV1106_OTHER_MODEL, "%s does not have 1 input and %d outputs, as model.h has", path,
                     model->output_count);
    if ((status = open_input(detector)) != 0 || (status = open_outputs(detector)) != 0) return status;
    if ((status = rv1106_init(&detector->decoder, model)) == 0) return 0;
    return wrong(detector, RV1106_OTHER_MODEL, "model.h: %s", rv1106_message(status));
}

int rv1106_open(rv1106_detector *detector, const char *path, const rv1106_model *model)
{
    long long start;
    int status;
    if (!detector) return RV1106_BAD_ARGUMENT;
    memset(detector, 0, sizeof *detector);
    if (!path || !model || !model->toolkit)
        return wrong(detector, RV1106_BAD_ARGUMENT, "%s", rv1106_message(RV1106_BAD_ARGUMENT));
    detector->model = model;
    if (access(path, R_OK)) return wrong(detector, RV1106_NO_FILE, "%s cannot be read: %s", path, strerror(errno));
    start = now_us();
    if ((status = rknn_init(&detector->context, (void *)(uintptr_t)path, 0, 0, NULL)) != RKNN_SUCC)
        return wrong(detector, RV1106_REFUSED, "the runtime refuses %s: rknn_init returned error %d", path, status);
    detector->open_us = now_us() - start;
    detector->is_open = 1;
    if ((status = open_tensors(detector, path)) != 0) rv1106_close(detector);
    return status;
}

rv1106_input rv1106_detector_input(const rv1106_detector *detector)
{
    return rv1106_input_of(detector->model, (uint8_t *)detector->input->virt_addr, detector->stride);
}

void rv1106_copy_input(rv1106_detector *detector, const uint8_t *pixels)
{
    const rv1106_input input = rv1106_detector_input(detector);
    const size_t row = rv1106_row_bytes(input.channels, input.width);
    int y;
    for (y = 0; y < input.height; y++) memcpy(input.pixels + (size_t)y * input.stride, pixels + (size_t)y * row, row);
}

int rv1106_run(rv1106_detector *detector)
{
    long long start;
    int i, status;
    rknn_mem_sync(detector->context, detector->input, RKNN_MEMORY_SYNC_TO_DEVICE);
    start = now_us();
    status = rknn_run(detector->context, NULL);
    detector->run_us = now_us() - start;
    if (status != RKNN_SUCC) return wrong(detector, RV1106_RUN_FAILED, "rknn_run returned error %d", status);
    for (i = 0; i < detector->model->output_count; i++)
        rknn_mem_sync(detector->context, detector->outputs[i], RKNN_MEMORY_SYNC_FROM_DEVICE);
    return 0;
}

int rv1106_detections(rv1106_detector *detector, float confidence, float iou, const rv1106_letterbox *fit,
                      rv1106_candidate *candidates, int candidate_capacity, rv1106_detection *detections, int capacity)
{
    const int count = rv1106_decode(&detector->decoder, detector->buffers, detector->sizes, confidence, iou, fit,
                                    candidates, candidate_capacity, detections, capacity);
    return count < 0 ? wrong(detector, count, "%s", rv1106_message(count)) : count;
}

void rv1106_close(rv1106_detector *detector)
{
    int i;
    if (!detector || !detector->is_open) return;
    if (detector->input) rknn_destroy_mem(detector->context, detector->input);
    for (i = 0; i < RV1106_MAX_OUTPUTS; i++)
        if (detector->outputs[i]) rknn_destroy_mem(detector->context, detector->outputs[i]);
    rknn_destroy(detector->context);
    detector->input = NULL;
    memset(detector->outputs, 0, sizeof detector->outputs);
    detector->is_open = 0;
}

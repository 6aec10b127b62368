/* A stub of the board's runtime: it returns stored outputs of the simulator for known inputs.
 *
 * $RKNN_STUB/MODEL/ belongs to one model; MODEL is the FNV-1a hash, in hex, of the last 4096 bytes of its file:
 *   tensors          lines: `version V`, `driver V`, `refuse WORDS`, `sleep_us N`, `kill_at N` (the process is killed
 *                    at its Nth run), `input HEIGHT WIDTH ROW_STRIDE`,
 *                    `output C1 HEIGHT WIDTH C2 ZERO_POINT SCALE ROW_STRIDE` for each output
 *   INPUT            the outputs for the input whose bytes have the hash INPUT, one after the other, in memory layout
 *   any              the outputs for an unknown input; without this file rknn_run fails
 */
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rknn_api.h"

enum { CONTEXTS = 2, OUTPUTS = 32 };

/* The version text, as in Rockchip's library and archive. */
const char rknnmrt_version[] = "librknnmrt version: 2.3.2 (a stub)";

typedef struct {
    char folder[512], version[256], driver[256];
    uint32_t height, width, row;
    int outputs;
    long sleep_us, kill_at, runs;
    rknn_tensor_attr attrs[OUTPUTS];
    rknn_tensor_mem *input, *memory[OUTPUTS];
} stub_model;

static stub_model stubs[CONTEXTS]; /* of the contexts 1, 2, ... */
static int opened;

static stub_model *model_of(rknn_context context)
{
    return context >= 1 && context <= (rknn_context)opened ? &stubs[context - 1] : NULL;
}

static uint64_t hashed(uint64_t hash, const uint8_t *bytes, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
}

static const uint64_t start = 14695981039346656037u;

static int read_line(stub_model *stub, const char *line)
{
    rknn_tensor_attr *attr = &stub->attrs[stub->outputs];
    if (strncmp(line, "refuse ", 7) == 0) {
        /* The real runtime prints to both. */
        printf("E RKNN: %s\n", line + 7);
        fflush(stdout);
        fputs("E RKNN: rknn fallback cpu failed\n", stderr);
        return RKNN_ERR_FAIL;
    }
    sscanf(line, "version %255[^\n]", stub->version);
    sscanf(line, "driver %255[^\n]", stub->driver);
    sscanf(line, "sleep_us %ld", &stub->sleep_us);
    sscanf(line, "kill_at %ld", &stub->kill_at);
    sscanf(line, "input %u %u %u", &stub->height, &stub->width, &stub->row);
    if (sscanf(line, "output %u %u %u %u %d %f %u", &attr->dims[1], &attr->dims[2], &attr->dims[3], &attr->dims[4],
               &attr->zp, &attr->scale, &attr->w_stride) == 7) {
        attr->index = (uint32_t)stub->outputs++;
        attr->dims[0] = 1;
        attr->n_dims = 5;
        attr->fmt = RKNN_TENSOR_NC1HWC2;
        if (attr->dims[2] * attr->dims[3] * attr->dims[4] == 1) { /* a vector */
            attr->n_dims = 2;
            attr->fmt = RKNN_TENSOR_UNDEFINED;
        }
        attr->type = RKNN_TENSOR_INT8;
        attr->n_elems = attr->size = attr->dims[1] * attr->dims[2] * attr->dims[3] * attr->dims[4];
        attr->size_with_stride = attr->size + 64;
    }
    return RKNN_SUCC;
}

int rknn_init(rknn_context *context, void *model, uint32_t size, uint32_t flags, void *extend)
{
    const char *root = getenv("RKNN_STUB");
    stub_model *stub;
    uint8_t last[4096];
    uint64_t hash;
    char path[600], line[512];
    FILE *file;
    size_t got;
    int status = RKNN_SUCC;
    (void)size, (void)flags, (void)extend;
    if (opened == CONTEXTS) return RKNN_ERR_FAIL;
    stub = &stubs[opened];
    memset(stub, 0, sizeof *stub);
    printf("I RKNN: stub runtime\n"); /* the real runtime also prints to standard output */
    if (!root || !(file = fopen(model, "rb"))) return RKNN_ERR_FAIL;
    fseek(file, -(long)sizeof last, SEEK_END);
    got = fread(last, 1, sizeof last, file);
    hash = hashed(start, last, got);
    fclose(file);
    snprintf(stub->folder, sizeof stub->folder, "%s/%016llx", root, (unsigned long long)hash);
    snprintf(path, sizeof path, "%s/tensors", stub->folder);
    if (!(file = fopen(path, "r"))) {
        fprintf(stderr, "E RKNN: the stub knows no model %s\n", stub->folder);
        return RKNN_ERR_FAIL;
    }
    while (status == RKNN_SUCC && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        status = read_line(stub, line);
    }
    fclose(file);
    if (status == RKNN_SUCC) *context = (rknn_context)++opened;
    return status;
}

int rknn_destroy(rknn_context context)
{
    return model_of(context) ? RKNN_SUCC : RKNN_ERR_PARAM_INVALID;
}

int rknn_query(rknn_context context, rknn_query_cmd which, void *info, uint32_t size)
{
    const stub_model *stub = model_of(context);
    if (!stub) return RKNN_ERR_PARAM_INVALID;
    if (which == RKNN_QUERY_IN_OUT_NUM) {
        rknn_input_output_num *number = info;
        number->n_input = 1;
        number->n_output = (uint32_t)stub->outputs;
    } else if (which == RKNN_QUERY_SDK_VERSION) {
        rknn_sdk_version *version = info;
        strcpy(version->api_version, stub->version);
        strcpy(version->drv_version, stub->driver);
    } else if (which == RKNN_QUERY_NATIVE_INPUT_ATTR) {
        rknn_tensor_attr *attr = info;
        attr->n_dims = 4;
        attr->dims[0] = 1;
        attr->dims[1] = stub->height;
        attr->dims[2] = stub->width;
        attr->dims[3] = 3;
        attr->fmt = RKNN_TENSOR_NHWC;
        attr->type = RKNN_TENSOR_INT8;
        attr->w_stride = stub->row;
        attr->size_with_stride = stub->height * stub->row * 3;
    } else if (which == RKNN_QUERY_NATIVE_OUTPUT_ATTR && size == sizeof(rknn_tensor_attr)) {
        const uint32_t index = ((rknn_tensor_attr *)info)->index;
        if (index >= (uint32_t)stub->outputs) return RKNN_ERR_PARAM_INVALID;
        memcpy(info, &stub->attrs[index], size);
    } else return RKNN_ERR_PARAM_INVALID;
    return model_of(context) ? RKNN_SUCC : RKNN_ERR_PARAM_INVALID;
}

rknn_tensor_mem *rknn_create_mem(rknn_context context, uint32_t size)
{
    rknn_tensor_mem *memory = calloc(1, sizeof *memory);
    if (!memory || !model_of(context)) return NULL;
    memory->virt_addr = malloc(size);
    memory->size = size;
    memset(memory->virt_addr, 127, size); /* the padding is undefined */
    return memory;
}

int rknn_destroy_mem(rknn_context context, rknn_tensor_mem *memory)
{
    free(memory->virt_addr);
    free(memory);
    return model_of(context) ? RKNN_SUCC : RKNN_ERR_PARAM_INVALID;
}

int rknn_set_io_mem(rknn_context context, rknn_tensor_mem *memory, rknn_tensor_attr *attr)
{
    stub_model *stub = model_of(context);
    if (!stub) return RKNN_ERR_PARAM_INVALID;
    /* Pixels are passed unchanged; with the type INT8, the program would have to quantize them. */
    if (attr->n_dims == 4 && attr->type == RKNN_TENSOR_UINT8) stub->input = memory;
    else if (attr->n_dims == 5 || attr->n_dims == 2) stub->memory[attr->index] = memory;
    else return RKNN_ERR_PARAM_INVALID;
    return model_of(context) ? RKNN_SUCC : RKNN_ERR_PARAM_INVALID;
}

int rknn_mem_sync(rknn_context context, rknn_tensor_mem *memory, rknn_mem_sync_mode mode)
{
    (void)mode;
    return model_of(context) && memory ? RKNN_SUCC : RKNN_ERR_PARAM_INVALID;
}

int rknn_run(rknn_context context, void *extend)
{
    stub_model *stub = model_of(context);
    const struct timespec pause = {stub->sleep_us / 1000000, stub->sleep_us % 1000000 * 1000};
    uint64_t hash = start;
    char path[600];
    uint32_t y;
    int i, status = RKNN_SUCC;
    FILE *file;
    (void)extend;
    if (++stub->runs == stub->kill_at) kill(getpid(), SIGKILL);
    nanosleep(&pause, NULL);
    for (y = 0; y < stub->height; y++)
        hash = hashed(hash, (uint8_t *)stub->input->virt_addr + y * stub->row * 3, stub->width * 3);
    snprintf(path, sizeof path, "%s/%016llx", stub->folder, (unsigned long long)hash);
    if (!(file = fopen(path, "rb"))) {
        snprintf(path, sizeof path, "%s/any", stub->folder);
        file = fopen(path, "rb");
    }
    if (!file) return RKNN_ERR_FAIL;
    for (i = 0; i < stub->outputs; i++)
        if (fread(stub->memory[i]->virt_addr, 1, stub->attrs[i].size, file) != stub->attrs[i].size)
            status = RKNN_ERR_FAIL;
    fclose(file);
    return status;
}

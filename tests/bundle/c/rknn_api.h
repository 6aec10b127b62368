/* The part of the runtime's API that detect.c and the bundle's README use, written from its public description: to
 * compile both here, and for the stub runtime rknnmrt.c. Names and values are Rockchip's; the order of fields may
 * differ. A program for the board is built with Rockchip's own header. */
#ifndef RKNN_API_H
#define RKNN_API_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { RKNN_SUCC = 0, RKNN_ERR_FAIL = -1, RKNN_ERR_PARAM_INVALID = -5, RKNN_ERR_TARGET_PLATFORM_UNMATCH = -13 };

typedef uint32_t rknn_context;
typedef enum {
    RKNN_QUERY_IN_OUT_NUM = 0,
    RKNN_QUERY_SDK_VERSION = 5,
    RKNN_QUERY_NATIVE_INPUT_ATTR = 8,
    RKNN_QUERY_NATIVE_OUTPUT_ATTR = 9
} rknn_query_cmd;
typedef enum { RKNN_TENSOR_INT8 = 2, RKNN_TENSOR_UINT8 = 3 } rknn_tensor_type;
typedef enum { RKNN_TENSOR_NCHW = 0, RKNN_TENSOR_NHWC = 1, RKNN_TENSOR_NC1HWC2 = 2, RKNN_TENSOR_UNDEFINED = 3 } rknn_tensor_format;
typedef enum { RKNN_MEMORY_SYNC_TO_DEVICE = 1, RKNN_MEMORY_SYNC_FROM_DEVICE = 2 } rknn_mem_sync_mode;

typedef struct {
    uint32_t n_input, n_output;
} rknn_input_output_num;

typedef struct {
    char api_version[256], drv_version[256];
} rknn_sdk_version;

typedef struct {
    uint32_t index, n_dims, dims[16];
    char name[256];
    uint32_t n_elems, size;
    rknn_tensor_format fmt;
    rknn_tensor_type type;
    int32_t zp;
    float scale;
    uint32_t w_stride, size_with_stride;
} rknn_tensor_attr;

typedef struct {
    void *virt_addr;
    uint32_t size;
} rknn_tensor_mem;

int rknn_init(rknn_context *, void *, uint32_t, uint32_t, void *);
int rknn_destroy(rknn_context);
int rknn_query(rknn_context, rknn_query_cmd, void *, uint32_t);
rknn_tensor_mem *rknn_create_mem(rknn_context, uint32_t);
int rknn_destroy_mem(rknn_context, rknn_tensor_mem *);
int rknn_set_io_mem(rknn_context, rknn_tensor_mem *, rknn_tensor_attr *);
int rknn_mem_sync(rknn_context, rknn_tensor_mem *, rknn_mem_sync_mode);
int rknn_run(rknn_context, void *);

#ifdef __cplusplus
}
#endif

#endif

/* As much of Rockchip's rknn_api.h as the bundle's README uses, to compile its example; nothing is run with it. */
#include <stddef.h>
#include <stdint.h>

typedef uint32_t rknn_context;
typedef enum { RKNN_QUERY_NATIVE_INPUT_ATTR = 8, RKNN_QUERY_NATIVE_OUTPUT_ATTR = 9 } rknn_query_cmd;
typedef enum { RKNN_TENSOR_INT8 = 2, RKNN_TENSOR_UINT8 = 3 } rknn_tensor_type;
typedef enum { RKNN_TENSOR_NHWC = 1, RKNN_TENSOR_NC1HWC2 = 2 } rknn_tensor_format;
typedef enum { RKNN_MEMORY_SYNC_TO_DEVICE = 1, RKNN_MEMORY_SYNC_FROM_DEVICE = 2 } rknn_mem_sync_mode;

typedef struct {
    uint32_t index, n_dims, dims[16];
    uint32_t n_elems, size;
    rknn_tensor_format fmt;
    rknn_tensor_type type;
    int32_t zp;
    float scale;
    uint32_t w_stride, size_with_stride;
} rknn_tensor_attr;

typedef struct {
    void *virt_addr;
} rknn_tensor_mem;

int rknn_init(rknn_context *, void *, uint32_t, uint32_t, void *);
int rknn_query(rknn_context, rknn_query_cmd, void *, uint32_t);
int rknn_set_io_mem(rknn_context, rknn_tensor_mem *, rknn_tensor_attr *);
int rknn_mem_sync(rknn_context, rknn_tensor_mem *, rknn_mem_sync_mode);
int rknn_run(rknn_context, void *);
rknn_tensor_mem *rknn_create_mem(rknn_context, uint32_t);

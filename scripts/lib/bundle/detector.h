/* Runs a model on the board: open, run, get detections, close. It uses Rockchip's zero-copy API, the only one that
 * works on these chips, and checks runtime and model so that a wrong file or an old runtime gives an error instead of
 * wrong boxes.
 *
 *   static rv1106_detector detector;
 *   if (rv1106_open(&detector, "model.rknn", &RV1106_MODEL)) return puts(detector.error), 1;
 *   rv1106_input input = rv1106_detector_input(&detector);             the NPU's memory: no copy
 *   rv1106_letterbox fit = rv1106_fit(&RV1106_MODEL, frame.width, frame.height);
 *   rv1106_fill_input(&input, &frame, &fit);                           see letterbox.h
 *   if (rv1106_run(&detector)) puts(detector.error);
 *   n = rv1106_detections(&detector, 0.25f, 0.7f, &fit, candidates, 1000, detections, 100);
 *   rv1106_close(&detector);
 *
 * No function ends the program. All state is in the struct, so a program can open several models. A detector must not
 * be used by two threads at the same time.
 */
#ifndef RV1106_DETECTOR_H
#define RV1106_DETECTOR_H

#include "letterbox.h"
#include "rknn_api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Error codes, in addition to those of decode.h. `error` of the detector holds a message. */
enum {
    RV1106_NO_FILE = -4,     /* the model file cannot be read */
    RV1106_REFUSED = -5,     /* the runtime refuses the model */
    RV1106_OLD_RUNTIME = -6, /* the runtime is older than the toolkit that built the model, or reports no version */
    RV1106_OTHER_MODEL = -7, /* model.rknn does not match model.h */
    RV1106_RUN_FAILED = -8,  /* out of CMA memory, or an error of rknn_set_io_mem or rknn_run */
};

/* An open model. Programs may read its fields, but must not change them. */
typedef struct {
    const rv1106_model *model;
    rv1106_decoder decoder;
    rknn_context context;
    rknn_tensor_mem *input, *outputs[RV1106_MAX_OUTPUTS];
    const int8_t *buffers[RV1106_MAX_OUTPUTS]; /* the raw outputs; valid until the next run or until close */
    size_t sizes[RV1106_MAX_OUTPUTS];
    size_t stride;                     /* bytes between the starts of two rows of the input */
    long long open_us, run_us;         /* duration of rknn_init and of the last rknn_run, in microseconds */
    char runtime[256], driver[256];    /* versions, as the runtime reports them */
    char error[1280];                  /* message of the last error */
    int is_open;
} rv1106_detector;

/* Opens a model and allocates all memory that it needs.
 *   detector  the caller's memory, not open; it is overwritten
 *   path      the .rknn file
 *   model     &RV1106_MODEL of the model.h beside that file; the detector keeps this pointer
 * Returns 0 or an error code; after an error nothing is open. */
int rv1106_open(rv1106_detector *detector, const char *path, const rv1106_model *model);

/* Returns the model's input in the NPU's memory, which the detector owns. Fill it before each run. */
rv1106_input rv1106_detector_input(const rv1106_detector *detector);

/* Copies an image that is letterboxed already to the input: height x width x channels bytes, without gaps. */
void rv1106_copy_input(rv1106_detector *detector, const uint8_t *pixels);

/* Runs the model on its input and waits for the end. Returns 0 or RV1106_RUN_FAILED. */
int rv1106_run(rv1106_detector *detector);

/* Decodes the outputs of the last run: rv1106_decode (see there for the arguments) with the detector's buffers. Returns
 * the number of detections, or an error code of rv1106_decode. */
int rv1106_detections(rv1106_detector *detector, float confidence, float iou, const rv1106_letterbox *fit,
                      rv1106_candidate *candidates, int candidate_capacity, rv1106_detection *detections, int capacity);

/* Frees all memory and closes the model. Has no effect if nothing is open: after an error of rv1106_open, after
 * rv1106_close, or if all bytes of the detector are 0. */
void rv1106_close(rv1106_detector *detector);

#ifdef __cplusplus
}
#endif

#endif

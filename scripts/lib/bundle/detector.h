/* A model on the board: opened, run, its detections, closed. With Rockchip's zero-copy calls, the only ones that work
 * on these chips, and the checks that keep a wrong file or runtime from giving wrong boxes.
 *
 *   static rv1106_detector detector;
 *   if (rv1106_open(&detector, "model.rknn", &RV1106_MODEL)) return puts(detector.error), 1;
 *   rv1106_input input = rv1106_detector_input(&detector);             the NPU's memory: no copy
 *   rv1106_letterbox fit = rv1106_fit(&RV1106_MODEL, frame.width, frame.height);
 *   rv1106_fill_input(&input, &frame, &fit);                           letterbox.h
 *   if (rv1106_run(&detector)) puts(detector.error);
 *   n = rv1106_detections(&detector, 0.25f, 0.7f, &fit, candidates, 1000, detections, 100);
 *   rv1106_close(&detector);
 *
 * Nothing here ends the program, and nothing is kept but in the struct, so one program may hold several models. One
 * detector is for one thread at a time.
 */
#ifndef RV1106_DETECTOR_H
#define RV1106_DETECTOR_H

#include "letterbox.h"
#include "rknn_api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What can be wrong besides what decode.h knows; `error` of the detector says it in a sentence. */
enum {
    RV1106_NO_FILE = -4,     /* the file of the model cannot be read */
    RV1106_REFUSED = -5,     /* the runtime refuses the model */
    RV1106_OLD_RUNTIME = -6, /* the runtime is older than the toolkit that built the model */
    RV1106_OTHER_MODEL = -7, /* the model is not the one that model.h was made for */
    RV1106_RUN_FAILED = -8,  /* too little memory, or a run that failed */
};

typedef struct {
    const rv1106_model *model;
    rv1106_decoder decoder;
    rknn_context context;
    rknn_tensor_mem *input, *outputs[RV1106_MAX_OUTPUTS];
    const int8_t *buffers[RV1106_MAX_OUTPUTS]; /* the outputs as they lie in memory; valid until the next run */
    size_t sizes[RV1106_MAX_OUTPUTS];
    size_t stride;                     /* bytes from one row of the input to the next */
    long long open_us, run_us;         /* what rknn_init took, and the last rknn_run */
    char runtime[256], driver[256];    /* their versions, as they say them */
    char error[1280];                  /* what was wrong last */
    int is_open;
} rv1106_detector;

/* Open the `.rknn` at `path`, which `model` of its model.h describes; `model` must live as long. All memory is taken
 * here. Returns 0, or one of the numbers above, and nothing is open then. */
int rv1106_open(rv1106_detector *detector, const char *path, const rv1106_model *model);

/* The model's input, to be filled before each run. */
rv1106_input rv1106_detector_input(const rv1106_detector *detector);

/* Copy an image that is letterboxed already: rows without gaps, all of them. */
void rv1106_copy_input(rv1106_detector *detector, const uint8_t *pixels);

/* Run the model on its input. Returns 0 or RV1106_RUN_FAILED. */
int rv1106_run(rv1106_detector *detector);

/* What the last run detected: rv1106_decode with the detector's outputs; `fit` is how the image lies in the input.
 * Returns the number of detections, or what rv1106_decode returns. */
int rv1106_detections(rv1106_detector *detector, float confidence, float iou, const rv1106_letterbox *fit,
                      rv1106_candidate *candidates, int candidate_capacity, rv1106_detection *detections, int capacity);

/* Give everything back; closed twice is closed. */
void rv1106_close(rv1106_detector *detector);

#ifdef __cplusplus
}
#endif

#endif

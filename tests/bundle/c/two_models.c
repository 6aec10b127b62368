/* two_models DAY.rknn NIGHT.rknn: opens both, runs them alternately, prints detections, and errors with their code. */
#include <stdio.h>

#include "day/detector.h"
#include "day/model.h"
#include "night/model.h"

static rv1106_detector detectors[2];

int main(int argc, char **argv)
{
    const rv1106_model *const models[2] = {&day, &night};
    rv1106_candidate candidates[100];
    rv1106_detection found[10];
    int i, round, status, k;
    if (argc != 3) return 2;
    for (i = 0; i < 2; i++)
        if ((status = rv1106_open(&detectors[i], argv[i + 1], models[i])) != 0) {
            printf("%d %s\n", status, detectors[i].error);
            rv1106_close(&detectors[0]);
            return 1;
        }
    for (round = 0; round < 4; round++) {
        rv1106_detector *detector = &detectors[round % 2];
        const rv1106_input input = rv1106_detector_input(detector);
        const rv1106_letterbox fit = rv1106_fit(detector->model, input.width, input.height);
        memset(input.pixels, round % 2, (size_t)input.height * input.stride);
        if ((status = rv1106_run(detector)) != 0) printf("%d %s\n", status, detector->error);
        status = rv1106_detections(detector, 0.25f, 0.7f, &fit, candidates, 100, found, 10);
        for (k = 0; k < status; k++) printf("%d: %d %.3f\n", round % 2, found[k].class_id, (double)found[k].score);
    }
    if (rv1106_detections(&detectors[0], -1, 0.7f, NULL, candidates, 100, found, 10) < 0) puts(detectors[0].error);
    for (i = 0; i < 2; i++) rv1106_close(&detectors[i]);
    rv1106_close(&detectors[0]);
    memset(&detectors[1], 1, sizeof detectors[1]);
    if ((status = rv1106_open(&detectors[1], NULL, &night)) != 0) printf("%d %s\n", status, detectors[1].error);
    rv1106_close(&detectors[1]);
    return 0;
}

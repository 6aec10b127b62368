/* Times a bundle's decoder and what its task adds, on its golden outputs: ./task GOLDEN CONFIDENCE OBJECTS ROUNDS.
 * For the OBJECTS best detections, prints their number and the median microseconds per image of rv1106_decode and of the
 * task's part. With ROUNDS 0, 1 and -1 it runs nothing, both, or only rv1106_decode once, to count instructions. */
#define _POSIX_C_SOURCE 200809L
#include "golden.h"

enum { ROOM = 30000, MOST_ROUNDS = 1000 };

static rv1106_candidate candidates[ROOM];
static rv1106_detection detections[RV1106_MODEL_MOST];

static void add(void *to, double value, int decimals)
{
    (void)decimals;
    *(volatile double *)to += value;
}

int main(int argc, char **argv)
{
    static double times[2][MOST_ROUNDS];
    const rv1106_model *model = &RV1106_MODEL;
    const int rounds = argc > 4 ? atoi(argv[4]) : 400, objects = argc > 3 ? atoi(argv[3]) : RV1106_MODEL_MOST;
    const rv1106_letterbox fit = rv1106_fit(model, 640, 480);
    const int8_t *buffers[RV1106_MAX_OUTPUTS];
    size_t sizes[RV1106_MAX_OUTPUTS];
    double sum = 0;
    const rv1106_sink sink = {add, &sum};
    rv1106_decoder decoder;
    int i, j, count = 0;
    if (argc < 2 || rounds > MOST_ROUNDS || objects > RV1106_MODEL_MOST || rv1106_init(&decoder, model)) return 2;
    if (read_outputs(argv[1], buffers, sizes)) return 2;
    for (i = 0; i < abs(rounds); i++) {
        double start = now();
        count = rv1106_decode(&decoder, buffers, sizes, argc > 2 ? (float)atof(argv[2]) : RV1106_MODEL_CONFIDENCE,
                              RV1106_MODEL_IOU, &fit, candidates, ROOM, detections, objects);
        times[0][i] = now() - start;
        start = now();
        for (j = 0; model->task && rounds > 0 && j < count; j++)
            model->task->values(&decoder, buffers, &fit, &detections[j], &sink);
        times[1][i] = now() - start;
    }
    for (i = 0; i < 2 && rounds > 0; i++) qsort(times[i], (size_t)rounds, sizeof times[i][0], by_size);
    if (rounds > 0) printf("%d %.1f %.1f\n", count, times[0][rounds / 2], times[1][rounds / 2]);
    return 0;
}

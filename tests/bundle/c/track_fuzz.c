/* Throws random detections at track.h: ./track_fuzz IMAGES SEED. Built with sanitizers by the tests. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "track.h"
#include "random.h"

static float draw_float(float most)
{
    static const float odd[] = {0, -1, 1e-38f, 1e38f, -1e38f};
    if (draw(200) == 0) return draw(8) ? odd[draw(5)] : (draw(2) ? NAN : INFINITY);
    return (float)draw(10000) / 10000 * most;
}

int main(int argc, char **argv)
{
    const long images = argc > 1 ? atol(argv[1]) : 100000;
    long image, followed = 0;
    rv1106_tracker *tracker = malloc(sizeof *tracker);
    state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 1;
    for (image = 0; image < images; image++) {
        const int count = (int)draw(draw(2) ? 8 : 40);
        rv1106_detection *detections = calloc((size_t)count + 1, sizeof *detections);
        int *numbers = malloc(((size_t)count + 1) * sizeof *numbers), i, j, n;
        if (image % 50 == 0) {
            rv1106_tracking options = rv1106_usual_tracking();
            options.patience = (int)draw(10);
            if (rv1106_start_tracking(tracker, &options)) abort();
        }
        for (i = 0; i < count; i++) {
            detections[i].class_id = (int)draw(80);
            detections[i].score = draw_float(1);
            detections[i].x1 = draw_float(100);
            detections[i].y1 = draw_float(100);
            detections[i].x2 = detections[i].x1 + draw_float(60);
            detections[i].y2 = detections[i].y1 + draw_float(60);
        }
        n = rv1106_track_detections(tracker, detections, count, numbers);
        for (i = 0; i < count; i++) {
            if (numbers[i] < 0) abort();
            for (j = 0; j < i; j++)
                if (numbers[i] && numbers[i] == numbers[j]) abort();
        }
        if (n < 0 || n > count) abort();
        followed += n;
        free(detections);
        free(numbers);
    }
    free(tracker);
    printf("%ld followed\n", followed);
    return 0;
}

/* Decodes the golden outputs of a bundle and prints the detections: cc main.c && ./a.out [FOLDER [CONFIDENCE [IOU]]]
 *   FOLDER      holds image.txt and output_N.bin; default: golden
 *   CONFIDENCE  score threshold, IOU  NMS threshold; both 0 or more; default: those of model.h
 * Prints one line per detection: class, score, x1, y1, x2, y2, name. If the model has a task, its values follow in the
 * next line, which begins with a space. For a classifier these are the best classes: probability, the part of the image
 * in the input, name; then the model's value. Exit status: 0, or 2 on error. */
#include <stdio.h>
#include <stdlib.h>

#include "model.h"

static rv1106_candidate candidates[30000];
static rv1106_detection detections[RV1106_MODEL_MOST];
static int8_t memory[RV1106_MODEL_BYTES + 1]; /* 1 extra byte, to detect files that are too long */

/* Converts a text to a number. Returns 1, or 0 if the text is not a number >= 0. */
static int read_threshold(const char *text, float *value)
{
    char *end;
    *value = strtof(text, &end);
    return *value >= 0 && end != text && !*end;
}

static void print_value(void *to, double value, int decimals)
{
    fprintf(to, " %.*f", decimals, value);
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : "golden";
    float confidence = RV1106_MODEL_CONFIDENCE, iou = RV1106_MODEL_IOU;
    const int8_t *buffers[RV1106_MAX_OUTPUTS] = {NULL};
    size_t sizes[RV1106_MAX_OUTPUTS] = {0}, used = 0;
    int width = 0, height = 0, i, count;
    char path[1024];
    FILE *file;
    if ((argc > 2 && !read_threshold(argv[2], &confidence)) || (argc > 3 && !read_threshold(argv[3], &iou)))
        return fprintf(stderr, "CONFIDENCE and IOU must be numbers >= 0\n"), 2;
    for (i = -1; i < RV1106_MODEL.output_count; i++) {
        if (i < 0) snprintf(path, sizeof path, "%s/image.txt", folder);
        else snprintf(path, sizeof path, "%s/output_%d.bin", folder, i);
        if (!(file = fopen(path, "rb"))) return fprintf(stderr, "%s cannot be read\n", path), 2;
        if (i >= 0) {
            buffers[i] = memory + used;
            used += sizes[i] = fread(memory + used, 1, sizeof memory - used, file);
        } else if (fscanf(file, "%d %d", &width, &height) != 2) return fprintf(stderr, "%s has no size\n", path), 2;
        fclose(file);
    }
    rv1106_decoder decoder;
    const rv1106_letterbox fit = rv1106_fit(&RV1106_MODEL, width, height);
    count = rv1106_init(&decoder, &RV1106_MODEL);
    if (count == 0)
        count = rv1106_decode(&decoder, buffers, sizes, confidence, iou, &fit, candidates, 30000, detections,
                              RV1106_MODEL_MOST);
    for (i = 0; i < count; i++) {
        const rv1106_sink sink = {print_value, stdout};
        printf("%d %.6f %.4f %.4f %.4f %.4f %s\n", detections[i].class_id, detections[i].score, detections[i].x1,
               detections[i].y1, detections[i].x2, detections[i].y2, RV1106_MODEL_NAMES[detections[i].class_id]);
        if (!RV1106_MODEL.task) continue;
        RV1106_MODEL.task->values(&decoder, buffers, &fit, &detections[i], &sink);
        putchar('\n');
    }
    return count < 0 ? fprintf(stderr, "%s: %s\n", folder, rv1106_message(count)), 2 : 0;
}

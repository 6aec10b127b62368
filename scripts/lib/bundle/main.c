/* Decodes the golden outputs and prints what is found: cc main.c && ./a.out [FOLDER [CONFIDENCE [IOU]]] */
#include <stdio.h>
#include <stdlib.h>

#include "decode.h"
#include "model.h"

static yolov8_candidate candidates[30000];
static yolov8_detection detections[YOLOV8_MODEL_MOST];
static int8_t memory[YOLOV8_MODEL_BYTES + 1]; /* one more, to see that a file is too long */

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : "golden";
    const float confidence = argc > 2 ? (float)atof(argv[2]) : YOLOV8_MODEL_CONFIDENCE;
    const float iou = argc > 3 ? (float)atof(argv[3]) : YOLOV8_MODEL_IOU;
    const int8_t *buffers[YOLOV8_MAX_OUTPUTS] = {NULL};
    size_t sizes[YOLOV8_MAX_OUTPUTS] = {0}, used = 0;
    int width = 0, height = 0, i, count;
    char path[1024];
    FILE *file;
    for (i = -1; i < yolov8_this_model.output_count; i++) {
        if (i < 0) snprintf(path, sizeof path, "%s/image.txt", folder);
        else snprintf(path, sizeof path, "%s/output_%d.bin", folder, i);
        if (!(file = fopen(path, "rb"))) return fprintf(stderr, "%s cannot be read\n", path), 2;
        if (i >= 0) {
            buffers[i] = memory + used;
            used += sizes[i] = fread(memory + used, 1, sizeof memory - used, file);
        } else if (fscanf(file, "%d %d", &width, &height) != 2) return fprintf(stderr, "%s: no size\n", path), 2;
        fclose(file);
    }
    yolov8_decoder decoder;
    const yolov8_letterbox fit = yolov8_fit(&yolov8_this_model, width, height);
    count = yolov8_init(&decoder, &yolov8_this_model);
    if (count == 0)
        count = yolov8_decode(&decoder, buffers, sizes, confidence, iou, &fit, candidates, 30000, detections,
                              YOLOV8_MODEL_MOST);
    for (i = 0; i < count; i++)
        printf("%d %.6f %.4f %.4f %.4f %.4f %s\n", detections[i].class_id, detections[i].score, detections[i].x1,
               detections[i].y1, detections[i].x2, detections[i].y2, yolov8_names[detections[i].class_id]);
    return count < 0 ? fprintf(stderr, "%s: %s\n", folder, yolov8_message(count)), 2 : 0;
}

/* Throws random models, bytes and arguments at decode.h: ./fuzz INPUTS SEED. Built with sanitizers by the tests.
 * Every buffer is exactly as long as it must be, so one byte read or written beyond it ends the program. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "decode.h"

#define DEMAND(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "input %ld: %s\n", input, #what); \
            abort(); \
        } \
    } while (0)

static uint64_t state;

static uint32_t draw(uint32_t below) /* xorshift64*, https://doi.org/10.18637/jss.v008.i14 */
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 2685821657736338717u) >> 32) % below;
}

static float draw_float(void)
{
    static const float odd[] = {0, -1, 1e-30f, 1e30f, FLT_MAX};
    if (draw(16) == 0) return draw(8) ? odd[draw(5)] : (draw(2) ? NAN : INFINITY);
    return (float)draw(10000) / 10000;
}

static yolov8_model draw_model(void)
{
    static const int lanes[] = {1, 3, 8, 16, 16, 16, 16, 32};
    yolov8_model model = {draw(2) ? YOLOV8_SPLIT : YOLOV8_SINGLE, 32, 32, 0, 0, {{0}}};
    const int larger = (int)draw(8);
    int split = model.head == YOLOV8_SPLIT, i;
    if (larger == 0) model.width = 64;
    if (larger == 1) model.height = 96;
    model.classes = 1 + (int)draw(draw(4) ? 4 : 20);
    model.output_count = split ? 6 : 1;
    for (i = 0; i < model.output_count; i++) {
        yolov8_output *each = &model.outputs[i];
        each->channels = split ? (i % 2 ? model.classes : 64) : 4 + model.classes;
        each->height = split ? model.height / (8 << i / 2) : yolov8_anchor_count(&model);
        each->width = split ? model.width / (8 << i / 2) : 1;
        each->c2 = lanes[draw(8)];
        each->c1 = (each->channels + each->c2 - 1) / each->c2;
        each->zero_point = (int)draw(256) - 128;
        each->scale = (float)(1 + draw(10000)) / (draw(2) ? 10000 : 1000000);
    }
    if (draw(4) == 0) { /* something that is wrong; yolov8_init must see it, or it is none */
        int *numbers = (int *)&model.outputs[draw(6)];
        switch (draw(6)) {
        case 0: model.width = (int)draw(3000) - 1000; break;
        case 1: model.classes = (int)draw(3) ? (int)draw(60) - 20 : INT32_MAX; break;
        case 2: model.output_count = (int)draw(9) - 1; break;
        case 3: model.outputs[draw(6)].scale = draw_float() * 4; break;
        case 4: model.head = (yolov8_head)draw(4); break;
        default: numbers[draw(6)] += (int)draw(7) - 3;
        }
    }
    return model;
}

int main(int argc, char **argv)
{
    const long inputs = argc > 1 ? atol(argv[1]) : 1000000;
    long input, found = 0, refused = 0;
    yolov8_decoder decoder;
    yolov8_model model;
    state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 1;
    for (input = 0; input < inputs;) {
        int round, i, status, rounds = 32;
        model = draw_model();
        status = yolov8_init(&decoder, &model);
        DEMAND(status == 0 || status == YOLOV8_BAD_MODEL);
        if (status) {
            refused++;
            input++;
            continue;
        }
        for (round = 0; round < rounds; round++, input++) {
            int8_t *buffers[YOLOV8_MAX_OUTPUTS] = {NULL};
            size_t sizes[YOLOV8_MAX_OUTPUTS] = {0}, k;
            const float confidence = draw_float(), iou = draw_float();
            const int room = (int)draw(draw(2) ? 8 : 200), capacity = (int)draw(draw(2) ? 4 : 100);
            yolov8_candidate *candidates = malloc((size_t)(room ? room : 1) * sizeof *candidates);
            yolov8_detection *detections = malloc((size_t)(capacity ? capacity : 1) * sizeof *detections);
            const yolov8_letterbox fit = yolov8_fit(&model, (int)draw(2000) - 1, 1 + (int)draw(2000));
            int wrong = 0, count, low = (int)draw(256);
            for (i = 0; i < model.output_count; i++) {
                sizes[i] = yolov8_size(&model.outputs[i]);
                if (draw(64) == 0) {
                    sizes[i] += draw(2) ? 1 : (size_t)-1;
                    wrong = 1;
                }
                buffers[i] = malloc(sizes[i] ? sizes[i] : 1);
                for (k = 0; k < sizes[i]; k++) {
                    const uint32_t drawn = draw(65536);
                    buffers[i][k] = (int8_t)((int)(drawn >> 8) < low ? -128 : (int)(drawn & 255) - 128);
                }
            }
            count = yolov8_decode(&decoder, (const int8_t *const *)buffers, sizes, confidence, iou, &fit, candidates,
                                  room, detections, capacity);
            if (room < 1 || capacity < 1 || !(confidence >= 0) || !(iou >= 0) || fit.width < 1)
                DEMAND(count == YOLOV8_BAD_ARGUMENT);
            else if (wrong)
                DEMAND(count == YOLOV8_BAD_SIZE);
            else {
                DEMAND(count >= 0 && count <= capacity && count <= room);
                found += count;
                for (i = 0; i < count; i++) {
                    const yolov8_detection *one = &detections[i];
                    DEMAND(one->class_id >= 0 && one->class_id < model.classes && one->score > confidence);
                    DEMAND(i == 0 || one->score <= detections[i - 1].score);
                    DEMAND(one->x1 >= 0 && one->x1 <= (float)fit.width && one->x2 >= 0 && one->x2 <= (float)fit.width);
                    DEMAND(one->y1 >= 0 && one->y1 <= (float)fit.height && one->y2 >= 0 && one->y2 <= (float)fit.height);
                }
            }
            for (i = 0; i < model.output_count; i++) free(buffers[i]);
            free(candidates);
            free(detections);
        }
    }
    printf("%ld inputs, %ld models refused, %ld detections\n", input, refused, found);
    return 0;
}

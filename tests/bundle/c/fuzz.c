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

static void draw_output(yolov8_output *output, int channels, int height, int width)
{
    static const int lanes[] = {1, 3, 8, 16, 16, 16, 16, 32};
    output->channels = channels;
    output->height = height;
    output->width = width;
    output->c2 = lanes[draw(8)];
    output->c1 = (channels + output->c2 - 1) / output->c2;
    output->zero_point = (int)draw(256) - 128;
    output->scale = (float)(1 + draw(10000)) / (draw(2) ? 10000 : 1000000);
}

static yolov8_layer draw_layer(void)
{
    static const int strides[] = {8, 16, 32, 32, 13, 10, 32};
    yolov8_layer layer = {0, 0, 0, 0, {{0}}};
    int i;
    layer.stride = strides[draw(7)];
    layer.anchor_count = 1 + (int)draw(draw(8) ? 3 : YOLOV8_MAX_ANCHORS);
    layer.new_coords = (int)draw(2);
    layer.scale_x_y = 1 + draw(100) / 100.0;
    for (i = 0; i < 2 * layer.anchor_count; i++) layer.anchors[i / 2][i % 2] = (float)(1 + draw(20000)) / 100;
    return layer;
}

static void draw_maps(yolov8_model *model)
{
    const int sets = yolov8_set_count(model), maps = yolov8_map_count(model);
    const int bins = draw(2) ? 16 : 2 + (int)draw(YOLOV8_MAX_BINS - 1);
    int set;
    for (set = 0; set < sets; set++) {
        const int stride = yolov8_stride(model, set), per_cell = yolov8_per_cell(model, set);
        const int height = model->height / stride, width = model->width / stride;
        yolov8_output *output = &model->outputs[set * maps];
        draw_output(output, model->family == YOLOV8_DFL ? 4 * bins : 4 * per_cell, height, width);
        if (model->family == YOLOV8_ANCHORS) draw_output(output + 1, per_cell, height, width);
        draw_output(output + maps - 1, per_cell * model->classes, height, width);
    }
    model->output_count = sets * maps;
}

/* Something that is wrong; yolov8_init must see it, or it is none. */
static void spoil(yolov8_model *model)
{
    int *numbers = (int *)&model->outputs[draw(6)];
    yolov8_layer *layer = &model->layers[draw(2)];
    switch (draw(11)) {
    case 0: model->width = (int)draw(3000) - 1000; break;
    case 1: model->classes = (int)draw(3) ? (int)draw(60) - 20 : INT32_MAX; break;
    case 2: model->output_count = (int)draw(21) - 1; break;
    case 3: model->outputs[draw(6)].scale = draw_float() * 4; break;
    case 4: model->head = (yolov8_head)draw(4); break;
    case 5: model->family = (yolov8_family)draw(4); break;
    case 6: model->layer_count = (int)draw(9) - 1; break;
    case 7: layer->stride = draw(4) ? (int)draw(70) - 10 : INT32_MAX; break;
    case 8: layer->anchor_count = draw(4) ? (int)draw(20) - 2 : INT32_MAX; break;
    case 9: layer->anchors[0][draw(2)] = draw_float() * 4; break;
    default: numbers[draw(6)] += (int)draw(7) - 3;
    }
}

static yolov8_model draw_model(void)
{
    yolov8_model model;
    const int larger = (int)draw(8);
    int i;
    memset(&model, 0, sizeof model);
    model.head = draw(2) ? YOLOV8_SPLIT : YOLOV8_SINGLE;
    model.family = (yolov8_family)draw(3);
    model.end2end = draw(4) == 0;
    model.width = larger == 0 ? 64 : 32;
    model.height = larger == 1 ? 96 : 32;
    model.classes = 1 + (int)draw(draw(4) ? 4 : 20);
    if (model.family == YOLOV8_ANCHORS) {
        model.layer_count = 1 + (int)draw(draw(4) ? 2 : YOLOV8_MAX_LAYERS);
        for (i = 0; i < model.layer_count; i++) model.layers[i] = draw_layer();
    }
    if (model.head == YOLOV8_SPLIT) draw_maps(&model);
    else {
        draw_output(model.outputs, 4 + model.classes, yolov8_prediction_count(&model), 1);
        model.output_count = 1;
    }
    if (draw(4) == 0) spoil(&model);
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
            if (room < 1 || capacity < 1 || !(confidence >= 0) || !(iou >= 0 || model.end2end) || fit.width < 1)
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

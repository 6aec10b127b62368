/* Decoder of classifiers: which classes a whole image has. The model has one output with a value per class. If these
 * values are logits, that is, those before a softmax, `probability` is what the softmax would give:
 *   probability = exp(value) / sum of exp(value) over all classes
 * The order of the classes is that of the stored bytes; of equal ones, the class with the lower number is first.
 *
 *   rv1106_class best[5];
 *   n = rv1106_classify(&decoder, buffers, sizes, best, 5);
 *
 * rv1106_decode works too: a detection's score is the probability, and its box the part of the image in the input.
 */
#ifndef RV1106_CLASSIFY_H
#define RV1106_CLASSIFY_H

#include "decode.h"

/* A class of an image: its number, the model's value for it, and its probability, 0 to 1. */
typedef struct {
    int class_id;
    float value, probability;
} rv1106_class;

static inline int rv1106_classes_is_level(const rv1106_model *model, int level)
{
    return model->head == RV1106_AS_IS && model->levels[level].per_cell == 1;
}

static inline int rv1106_classes_are_maps(const rv1106_model *model, int level, const rv1106_output *maps, int height,
                                          int width)
{
    (void)model, (void)level, (void)maps, (void)height, (void)width;
    return 0; /* not for the head `split` */
}

static inline void rv1106_classes_fill(const rv1106_model *model, int level, const rv1106_output *map,
                                       double table[2][256])
{
    (void)model, (void)level, (void)map, (void)table;
}

static inline void rv1106_classes_box(const rv1106_decoder *decoder, const rv1106_source *source, float box[4])
{
    (void)source;
    box[0] = (float)decoder->model->width / 2;
    box[1] = (float)decoder->model->height / 2;
    box[2] = (float)decoder->model->width;
    box[3] = (float)decoder->model->height;
}

/* Computes the probability of a class by its byte: shares[byte + 128], for each byte that some class has. There are at
 * most 256 different bytes, so there are at most 256 calls of exp, however many classes there are. */
static inline void rv1106_shares(const rv1106_output *output, const int8_t *stored, float shares[256])
{
    int counts[256] = {0}, i, most = 0;
    double powers[256], sum = 0;
    for (i = 0; i < output->channels; i++) counts[rv1106_stored(output, stored, i, 0) + 128]++;
    for (i = 0; i < 256; i++)
        if (counts[i]) most = i;
    for (i = 0; i <= most; i++) {
        if (!counts[i]) continue;
        powers[i] = rv1106_exp((i - most) * (double)output->scale);
        sum += counts[i] * powers[i];
    }
    for (i = 0; i <= most; i++) shares[i] = counts[i] ? (float)(powers[i] / sum) : 0;
}

/* Adds all classes with a probability of at least into->confidence. A candidate's score is the byte of its class, so
 * that different bytes stay different; rv1106_classify_select replaces it. */
static inline void rv1106_classes_gather(rv1106_gathering *into, const rv1106_output *maps,
                                         const int8_t *const buffers[], int prediction)
{
    float shares[256];
    int i;
    rv1106_shares(maps, buffers[0], shares);
    for (i = 0; i < maps->channels; i++) {
        const int byte = rv1106_stored(maps, buffers[0], i, 0);
        if (shares[byte + 128] >= into->confidence) rv1106_keep(into, (float)byte, prediction, i);
    }
}

static inline int rv1106_classify_are_maps(const rv1106_model *model, const rv1106_output *maps, int count)
{
    (void)model, (void)maps, (void)count;
    return 0; /* not for the head `split` */
}

/* Makes detections of the candidates. Their box is the part of the image that is in the input. */
static inline int rv1106_classify_select(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                         const rv1106_candidate *candidates, int count, float iou,
                                         const rv1106_letterbox *fit, rv1106_detection *detections, int capacity)
{
    const rv1106_model *model = decoder->model;
    float shares[256];
    int i;
    (void)iou;
    rv1106_shares(model->outputs, buffers[0], shares);
    for (i = 0; i < count && i < capacity; i++) {
        const rv1106_detection detection = {
            candidates[i].rank, shares[(int)candidates[i].score + 128], 0, 0, (float)model->width,
            (float)model->height, 0,
        };
        detections[i] = detection;
        rv1106_place_box(&detections[i], fit);
    }
    return i;
}

/* Passes the model's value for the class of a detection to `sink`. */
static inline void rv1106_classify_values(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                          const rv1106_letterbox *fit, const rv1106_detection *detection,
                                          const rv1106_sink *sink)
{
    const rv1106_output *output = decoder->model->outputs;
    (void)fit;
    sink->put(sink->to, (double)rv1106_real(output, rv1106_stored(output, buffers[0], detection->class_id, 0)), 6);
}

/* Finds the best classes of one image.
 *   decoder         initialized by rv1106_init with the model of a classifier
 *   buffers, sizes  memory of the output and its size in bytes; only read
 *   best            result array of `capacity` elements, best first
 * Returns the number of classes, RV1106_BAD_SIZE or RV1106_BAD_ARGUMENT. */
static inline int rv1106_classify(const rv1106_decoder *decoder, const int8_t *const buffers[], const size_t sizes[],
                                  rv1106_class *best, int capacity)
{
    const rv1106_output *output;
    float shares[256];
    int i, at, count = 0;
    if (!decoder || !buffers || !sizes || !best || capacity < 1 || decoder->model->head != RV1106_AS_IS || !buffers[0])
        return RV1106_BAD_ARGUMENT;
    output = decoder->model->outputs;
    if (sizes[0] != rv1106_size(output)) return RV1106_BAD_SIZE;
    rv1106_shares(output, buffers[0], shares);
    for (i = 0; i < output->channels; i++) {
        const int byte = rv1106_stored(output, buffers[0], i, 0);
        const rv1106_class found = {i, rv1106_real(output, byte), shares[byte + 128]};
        for (at = count; at > 0 && rv1106_stored(output, buffers[0], best[at - 1].class_id, 0) < byte; at--)
            if (at < capacity) best[at] = best[at - 1];
        if (at == capacity) continue;
        best[at] = found;
        if (count < capacity) count++;
    }
    return count;
}

static const rv1106_family rv1106_classes = {
    1, rv1106_classes_is_level, rv1106_classes_are_maps, rv1106_classes_fill, rv1106_classes_gather, rv1106_classes_box,
};

static const rv1106_task rv1106_classify_task = {
    rv1106_classify_are_maps, rv1106_classify_select, rv1106_classify_values, RV1106_CLASSIFY,
};

#endif

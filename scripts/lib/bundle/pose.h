/* Task POSE. After the family's outputs, there is a map of K keypoints per level, [1, 2 K, H/s, W/s]: x and y of
 * keypoint 0, of keypoint 1, and so on. After these, if the model predicts visibility, there is a map of it per level,
 * [1, K, H/s, W/s], 0 to 1.
 *
 *   n = rv1106_decode(&decoder, buffers, ..., detections, 100);
 *   count = rv1106_keypoints(&decoder, buffers, &fit, &detections[i], keypoints, 17);
 *
 * Only the keypoints of detections are decoded. In input pixels, for the cell in column i, row j of a level with stride
 * s (graph surgery gives all models this form):
 *   x = (real + i + 0.5) * s, y = (real + j + 0.5) * s
 */
#ifndef RV1106_POSE_H
#define RV1106_POSE_H

#include "decode.h"

/* A keypoint: position in image pixels, clipped to the image; visibility 0 to 1, or 1 if the model has none. */
typedef struct {
    float x, y, visibility;
} rv1106_keypoint;

/* Returns K, the number of keypoints per detection; 0 for a model without keypoints. */
static inline int rv1106_keypoint_count(const rv1106_model *model)
{
    if (!model->task || model->task->form != RV1106_POSE) return 0;
    return model->outputs[rv1106_box_outputs(model)].channels / 2;
}

/* Returns 1 if the task's maps are valid, otherwise 0. */
static inline int rv1106_pose_are_maps(const rv1106_model *model, const rv1106_output *maps, int count)
{
    const int levels = model->level_count, points = maps->channels / 2;
    int i;
    if ((count != levels && count != 2 * levels) || points < 1 || points > RV1106_SIDE_LIMIT) return 0;
    for (i = 0; i < count; i++) {
        const rv1106_level *level = &model->levels[i % levels];
        if (level->per_cell != 1 || !rv1106_is(&maps[i], i < levels ? 2 * points : points,
                                               rv1106_cells(model->height, level->stride),
                                               rv1106_cells(model->width, level->stride)))
            return 0;
    }
    return 1;
}

/* Returns one coordinate in input pixels. Each step is rounded to float, as in numpy. Products are of doubles, and so
 * exact; none is left that a fused multiply-add could round differently. */
static inline float rv1106_pose_position(const rv1106_output *map, int stored, int cell, int stride)
{
    const float real = (float)((double)(stored - map->zero_point) * (double)map->scale);
    const float moved = (float)((double)real + (cell + 0.5));
    return (float)((double)moved * stride);
}

/* Returns keypoint number `number` of a prediction. */
static inline rv1106_keypoint rv1106_keypoint_of(const rv1106_model *model, const int8_t *const buffers[],
                                                 const rv1106_letterbox *fit, const rv1106_source *source, int number)
{
    const int first = rv1106_box_outputs(model) + source->level, second = first + model->level_count;
    const rv1106_output *map = &model->outputs[first], *visible = &model->outputs[second];
    const int stride = model->levels[source->level].stride;
    const int x = rv1106_stored(map, buffers[first], 2 * number, source->cell);
    const int y = rv1106_stored(map, buffers[first], 2 * number + 1, source->cell);
    rv1106_keypoint point;
    point.x = rv1106_to_image(rv1106_pose_position(map, x, source->cell % map->width, stride), fit->left, fit->scale,
                              fit->width);
    point.y = rv1106_to_image(rv1106_pose_position(map, y, source->cell / map->width, stride), fit->top,
                              rv1106_scale_y(fit), fit->height);
    point.visibility = 1;
    if (second < model->output_count)
        point.visibility = rv1106_real(visible, rv1106_stored(visible, buffers[second], number, source->cell));
    return point;
}

/* Computes the keypoints of a detection.
 *   buffers, fit  the same as in the call of rv1106_decode that found `detection`; not needed afterwards
 *   keypoints     result array of `capacity` elements; if capacity is below K, only the first ones are written
 * Returns K, RV1106_BAD_MODEL if the model has no keypoints, or RV1106_BAD_ARGUMENT. Thread-safe. */
static inline int rv1106_keypoints(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                   const rv1106_letterbox *fit, const rv1106_detection *detection,
                                   rv1106_keypoint *keypoints, int capacity)
{
    rv1106_source source;
    int count, i;
    if (!decoder || !buffers || !fit || !detection || !keypoints || !(fit->scale > 0)) return RV1106_BAD_ARGUMENT;
    if (!(count = rv1106_keypoint_count(decoder->model))) return RV1106_BAD_MODEL;
    if (detection->prediction < 0 || detection->prediction >= rv1106_prediction_count(decoder->model))
        return RV1106_BAD_ARGUMENT;
    source = rv1106_source_of(decoder->model, buffers, detection->prediction);
    for (i = 0; i < count && i < capacity; i++)
        keypoints[i] = rv1106_keypoint_of(decoder->model, buffers, fit, &source, i);
    return count;
}

/* Passes x, y and visibility of each keypoint to `sink`. */
static inline void rv1106_pose_values(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                      const rv1106_letterbox *fit, const rv1106_detection *detection,
                                      const rv1106_sink *sink)
{
    const rv1106_source source = rv1106_source_of(decoder->model, buffers, detection->prediction);
    const int count = rv1106_keypoint_count(decoder->model);
    int i;
    for (i = 0; i < count; i++) {
        const rv1106_keypoint point = rv1106_keypoint_of(decoder->model, buffers, fit, &source, i);
        sink->put(sink->to, (double)point.x, 4);
        sink->put(sink->to, (double)point.y, 4);
        sink->put(sink->to, (double)point.visibility, 6);
    }
}

static const rv1106_task rv1106_pose = {rv1106_pose_are_maps, NULL, rv1106_pose_values, RV1106_POSE};

#endif

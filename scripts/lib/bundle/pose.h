/* Task POSE. After the family's outputs, there is a map of K keypoints per level, [1, 2 K, H/s, W/s]: x and y of
 * keypoint 0, of keypoint 1, and so on. After these, there may be a fine map per level, [1, 2 K, H/s, W/s]: the same
 * values divided by 4, in finer steps and cut at -1 and 1. After these, if the model predicts visibility, there is a map
 * of it per level, [1, K, H/s, W/s], 0 to 1.
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

/* Returns 1 if there are fine maps among `maps`, the `count` maps of the task, otherwise 0. */
static inline int rv1106_pose_has_fine(const rv1106_model *model, const rv1106_output *maps, int count)
{
    return count > model->level_count && maps[model->level_count].channels == maps->channels;
}

/* Returns 1 if the task's maps are valid, otherwise 0. */
static inline int rv1106_pose_are_maps(const rv1106_model *model, const rv1106_output *maps, int count)
{
    const int levels = model->level_count, points = maps->channels / 2;
    const int places = rv1106_pose_has_fine(model, maps, count) ? 2 * levels : levels;
    int i;
    if ((count != places && count != places + levels) || points < 1 || points > RV1106_SIDE_LIMIT) return 0;
    for (i = 0; i < count; i++) {
        const rv1106_level *level = &model->levels[i % levels];
        if (level->per_cell != 1 || !rv1106_is(&maps[i], i < places ? 2 * points : points,
                                               rv1106_cells(model->height, level->stride),
                                               rv1106_cells(model->width, level->stride)))
            return 0;
    }
    return 1;
}

/* Where the values of a prediction's keypoints are: its map, the fine map, or NULL, and their buffers; its cell. */
typedef struct {
    const rv1106_output *map, *fine;
    const int8_t *buffer, *fine_buffer;
    int cell;
} rv1106_pose_places;

/* Returns value number `index` in strides. The fine value is used unless it is at the end of its range, or far from the
 * other. Each step is rounded to float, as in numpy; the difference is exact. */
static inline float rv1106_pose_value(const rv1106_pose_places *places, int index)
{
    const rv1106_output *map = places->map, *fine_map = places->fine;
    const float real = rv1106_real(map, rv1106_stored(map, places->buffer, index, places->cell));
    float fine;
    double apart;
    if (!fine_map) return real;
    fine = rv1106_real(fine_map, rv1106_stored(fine_map, places->fine_buffer, index, places->cell));
    apart = 4 * (double)fine - (double)real;
    return fine > -0.984375f && fine < 0.984375f && apart >= -0.5 && apart <= 0.5 ? 4 * fine : real;
}

/* Returns a coordinate in input pixels, of a value in strides and a cell's column or row; rounded as in numpy. */
static inline float rv1106_pose_position(float value, int cell, int stride)
{
    const float moved = (float)((double)value + (cell + 0.5));
    return (float)((double)moved * stride);
}

/* Returns keypoint number `number` of a prediction. */
static inline rv1106_keypoint rv1106_keypoint_of(const rv1106_model *model, const int8_t *const buffers[],
                                                 const rv1106_letterbox *fit, const rv1106_source *source, int number)
{
    const int task = rv1106_box_outputs(model), levels = model->level_count, first = task + source->level;
    const int fine = rv1106_pose_has_fine(model, &model->outputs[task], model->output_count - task);
    const int second = first + levels, last = fine ? second + levels : second;
    const int stride = model->levels[source->level].stride, width = model->outputs[first].width;
    rv1106_pose_places places;
    rv1106_keypoint point;
    float x, y;
    places.map = &model->outputs[first];
    places.buffer = buffers[first];
    places.fine = fine ? &model->outputs[second] : NULL;
    places.fine_buffer = fine ? buffers[second] : NULL;
    places.cell = source->cell;
    x = rv1106_pose_position(rv1106_pose_value(&places, 2 * number), source->cell % width, stride);
    y = rv1106_pose_position(rv1106_pose_value(&places, 2 * number + 1), source->cell / width, stride);
    point.x = rv1106_to_image(x, fit->left, fit->scale, fit->width);
    point.y = rv1106_to_image(y, fit->top, rv1106_scale_y(fit), fit->height);
    point.visibility = 1;
    if (last < model->output_count)
        point.visibility = rv1106_real(&model->outputs[last],
                                       rv1106_stored(&model->outputs[last], buffers[last], number, source->cell));
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

/* Multi-object tracking: gives each detection the number of its track, which stays the same from image to image, also
 * while the score flickers around the threshold. The method is ByteTrack (https://arxiv.org/abs/2110.06864), as
 * implemented by Ultralytics.
 *
 * C99 and C++. No library, no allocation, no global state. One tracker per camera; a tracker must not be used by two
 * threads at the same time.
 *
 *   static rv1106_tracker tracker;                                        about 34 KB
 *   rv1106_start_tracking(&tracker, NULL);                                once; NULL: the default thresholds
 *   n = rv1106_decode(&decoder, buffers, sizes, 0.1f, ...);               low scores too: the second stage needs them
 *   rv1106_track_detections(&tracker, detections, n, numbers);            numbers[i]: track of detections[i], or 0
 *
 * A Kalman filter with constant velocity predicts the next position of each object (centre x and y, width / height,
 * height). Stage 1 assigns detections with high scores to tracks, by IoU times score. Stage 2 assigns detections with
 * low scores to the remaining tracks, by IoU alone. Each assignment minimizes the sum of the costs of all pairs. A new
 * track gets its number from its second image on. A track that is not seen is kept for some images. Numbers go up to
 * INT32_MAX, then start at 1 again.
 */
#ifndef RV1106_TRACK_H
#define RV1106_TRACK_H

#include "decode.h"

/* The largest number of tracks, and of detections that are used per image (the best ones). A program may define another
 * number before it includes this header. */
#ifndef RV1106_MAX_TRACKS
#define RV1106_MAX_TRACKS 128
#endif

/* Thresholds of a tracker. */
typedef struct {
    float high, low;       /* stage 1 uses scores of at least `high`, stage 2 those from `low` to below `high` */
    float start;           /* lowest score at which a new track starts */
    float first, second;   /* a track and a detection need an IoU (stage 1: IoU times score) above this, per stage */
    float new_track;       /* as `first`, for a track that was seen only once */
    int patience;          /* number of images for which a track is kept without being seen */
} rv1106_tracking;

/* State of a Kalman filter for one quantity and its velocity: values, variances, covariance. */
typedef struct {
    double value, velocity, value_variance, covariance, velocity_variance;
} rv1106_motion;

typedef enum { RV1106_NO_TRACK, RV1106_NEW, RV1106_TRACKED, RV1106_LOST } rv1106_track_state;

/* A track. `number` is 1 or more. class_id and score are those of its last detection. `detection` is the index of its
 * detection in this image, or -1. `motion` holds centre x, centre y, width / height, and height. */
typedef struct {
    rv1106_track_state state;
    int number, class_id, detection, first_image, last_image;
    float score;
    rv1106_motion motion[4];
} rv1106_track;

/* Working memory of an assignment (Hungarian method). row_pays and column_pays are the potentials, which reduce the
 * costs so that the best pairs cost 0. `from` is the column from which a column was reached. */
typedef struct {
    int rows[RV1106_MAX_TRACKS], columns[RV1106_MAX_TRACKS], row_count, column_count;
    int row_of[2 * RV1106_MAX_TRACKS], from[2 * RV1106_MAX_TRACKS];
    double row_pays[RV1106_MAX_TRACKS], column_pays[2 * RV1106_MAX_TRACKS], least[2 * RV1106_MAX_TRACKS];
    unsigned char reached[2 * RV1106_MAX_TRACKS];
} rv1106_assignment;

/* A tracker. Programs may read `options`; all other fields are private. */
typedef struct {
    rv1106_tracking options;
    int image, last_number;
    rv1106_track tracks[RV1106_MAX_TRACKS];
    int track_of[RV1106_MAX_TRACKS]; /* index of each detection's track, or -1 */
    rv1106_assignment work;
} rv1106_tracker;

/* Returns the default thresholds: those of Ultralytics' ByteTrack. */
static inline rv1106_tracking rv1106_usual_tracking(void)
{
    const rv1106_tracking usual = {0.25f, 0.1f, 0.25f, 0.2f, 0.5f, 0.3f, 30};
    return usual;
}

/* Initializes a tracker, or deletes all its tracks.
 *   options  thresholds, all 0 or more, with high >= low; NULL for rv1106_usual_tracking(); copied
 * Returns 0 or RV1106_BAD_ARGUMENT. */
static inline int rv1106_start_tracking(rv1106_tracker *tracker, const rv1106_tracking *options)
{
    if (!tracker || (options && (!(options->low >= 0) || !(options->high >= options->low) || !(options->start >= 0) ||
                                 !(options->first >= 0) || !(options->second >= 0) || !(options->new_track >= 0) ||
                                 options->patience < 0)))
        return RV1106_BAD_ARGUMENT;
    memset(tracker, 0, sizeof *tracker);
    tracker->options = options ? *options : rv1106_usual_tracking();
    return 0;
}

static inline double rv1106_square(double x)
{
    return x * x;
}

/* Returns the variance of a quantity: (share * height)^2; for width / height (quantity 2) aspect^2. */
static inline double rv1106_spread(int quantity, double height, double share, double aspect)
{
    return rv1106_square(quantity == 2 ? aspect : share * height);
}

/* Predicts the state of a track in the next image. A lost track keeps its height. */
static inline void rv1106_predict(rv1106_track *track)
{
    const double height = track->motion[3].value;
    int k;
    if (track->state == RV1106_LOST) track->motion[3].velocity = 0;
    for (k = 0; k < 4; k++) {
        rv1106_motion *motion = &track->motion[k];
        motion->value += motion->velocity;
        motion->value_variance += 2 * motion->covariance + motion->velocity_variance;
        motion->value_variance += rv1106_spread(k, height, 1 / 20.0, 1e-2);
        motion->covariance += motion->velocity_variance;
        motion->velocity_variance += rv1106_spread(k, height, 1 / 160.0, 1e-5);
    }
}

/* Computes centre x, centre y, width / height and height of a detection. */
static inline void rv1106_measure(const rv1106_detection *detection, double measured[4])
{
    const float width = detection->x2 - detection->x1, height = detection->y2 - detection->y1;
    measured[0] = (double)detection->x1 + (double)width / 2;
    measured[1] = (double)detection->y1 + (double)height / 2;
    measured[2] = (double)width / (double)height;
    measured[3] = (double)height;
}

/* Updates a track with its detection in this image. */
static inline void rv1106_see(rv1106_tracker *tracker, rv1106_track *track, const rv1106_detection *detections,
                              int index)
{
    const double height = track->motion[3].value;
    double measured[4];
    int k;
    rv1106_measure(&detections[index], measured);
    for (k = 0; k < 4; k++) {
        rv1106_motion *motion = &track->motion[k];
        const double sum = motion->value_variance + rv1106_spread(k, height, 1 / 20.0, 1e-1);
        const double off = measured[k] - motion->value, gain = motion->value_variance / sum;
        const double velocity_gain = motion->covariance / sum;
        motion->value += gain * off;
        motion->velocity += velocity_gain * off;
        motion->velocity_variance -= velocity_gain * motion->covariance;
        motion->covariance -= gain * motion->covariance;
        motion->value_variance -= gain * motion->value_variance;
    }
    track->state = RV1106_TRACKED;
    track->class_id = detections[index].class_id;
    track->score = detections[index].score;
    track->last_image = tracker->image;
    track->detection = index;
    tracker->track_of[index] = (int)(track - tracker->tracks);
}

/* Computes the corners of a track's box. */
static inline void rv1106_track_box(const rv1106_track *track, float box[4])
{
    const double height = track->motion[3].value, width = track->motion[2].value * height;
    box[0] = (float)(track->motion[0].value - width / 2);
    box[1] = (float)(track->motion[1].value - height / 2);
    box[2] = (float)(track->motion[0].value + width / 2);
    box[3] = (float)(track->motion[1].value + height / 2);
}

/* Returns the IoU of two boxes x1, y1, x2, y2; 0 if one has no area. */
static inline float rv1106_common(const float a[4], const float b[4])
{
    const float width = (a[2] < b[2] ? a[2] : b[2]) - (a[0] > b[0] ? a[0] : b[0]);
    const float height = (a[3] < b[3] ? a[3] : b[3]) - (a[1] > b[1] ? a[1] : b[1]);
    if (!(width > 0 && height > 0 && a[2] > a[0] && a[3] > a[1] && b[2] > b[0] && b[3] > b[1])) return 0;
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height);
}

/* Returns the cost of a row (track) and a column (detection): 1 - IoU, or 1 - IoU * score. A pair that is not above
 * `needed` costs more than leaving both unassigned. For that, each row has a dummy column, after the detections. */
static inline double rv1106_cost(const rv1106_tracker *tracker, const rv1106_detection *detections, int row, int column,
                                 float needed, int by_score)
{
    const rv1106_assignment *work = &tracker->work;
    const rv1106_detection *detection;
    float box[4], other[4], common;
    if (column >= work->column_count) return column - work->column_count == row ? 1 - (double)needed : 1e9;
    detection = &detections[work->columns[column]];
    rv1106_track_box(&tracker->tracks[work->rows[row]], box);
    other[0] = detection->x1;
    other[1] = detection->y1;
    other[2] = detection->x2;
    other[3] = detection->y2;
    common = rv1106_common(box, other);
    if (by_score) common *= detection->score;
    if (!(common > needed)) return 1e9;
    return common < 1 ? 1 - (double)common : 0; /* any score is possible, but with costs below 0 no path would end */
}

/* Assigns rows to columns with the smallest sum of costs, by shortest augmenting paths (the Hungarian method). Sets
 * row_of[column] to the column's row, or -1. */
static inline void rv1106_assign(rv1106_tracker *tracker, const rv1106_detection *detections, float needed,
                                 int by_score)
{
    rv1106_assignment *work = &tracker->work;
    const int all = work->column_count + work->row_count;
    int row, column, k;
    for (k = 0; k < all; k++) {
        work->row_of[k] = -1;
        work->column_pays[k] = 0;
    }
    for (row = 0; row < work->row_count; row++) {
        int at = row, next = -1, last = -1;
        work->row_pays[row] = 0;
        for (k = 0; k < all; k++) {
            work->least[k] = 1e18;
            work->reached[k] = 0;
        }
        do { /* reach the column with the lowest cost, until one is free */
            double step = 1e18;
            for (column = 0; column < all; column++) {
                double cost;
                if (work->reached[column]) continue;
                cost = rv1106_cost(tracker, detections, at, column, needed, by_score) - work->row_pays[at] -
                       work->column_pays[column];
                if (cost < work->least[column]) {
                    work->least[column] = cost;
                    work->from[column] = last;
                }
                if (work->least[column] < step) {
                    step = work->least[column];
                    next = column;
                }
            }
            work->row_pays[row] += step;
            for (column = 0; column < all; column++) {
                if (!work->reached[column]) work->least[column] -= step;
                else {
                    work->row_pays[work->row_of[column]] += step;
                    work->column_pays[column] -= step;
                }
            }
            last = next;
            work->reached[last] = 1;
            at = work->row_of[last];
        } while (at >= 0);
        for (; last >= 0; last = next) { /* flip the augmenting path */
            next = work->from[last];
            work->row_of[last] = next < 0 ? row : work->row_of[next];
        }
    }
}

/* Takes as columns the detections without a track whose scores are from `low` to below `high` (no upper limit if `high`
 * is below 0) and whose boxes have an area. */
static inline void rv1106_take_columns(rv1106_tracker *tracker, const rv1106_detection *detections, int count,
                                       float low, float high)
{
    int i;
    tracker->work.column_count = 0;
    for (i = 0; i < count; i++)
        if (tracker->track_of[i] < 0 && detections[i].score >= low && (high < 0 || detections[i].score < high) &&
            detections[i].x2 > detections[i].x1 && detections[i].y2 > detections[i].y1)
            tracker->work.columns[tracker->work.column_count++] = i;
}

/* Takes as rows the tracks in one of two states that have no detection in this image yet. */
static inline void rv1106_take_rows(rv1106_tracker *tracker, rv1106_track_state state, rv1106_track_state other)
{
    int i;
    tracker->work.row_count = 0;
    for (i = 0; i < RV1106_MAX_TRACKS; i++) {
        const rv1106_track *track = &tracker->tracks[i];
        if ((track->state == state || track->state == other) && track->detection < 0)
            tracker->work.rows[tracker->work.row_count++] = i;
    }
}

/* Assigns the rows to the columns, and updates each assigned track with its detection. */
static inline void rv1106_associate(rv1106_tracker *tracker, const rv1106_detection *detections, float needed,
                                    int by_score)
{
    const rv1106_assignment *work = &tracker->work;
    int column;
    if (!work->row_count || !work->column_count) return;
    rv1106_assign(tracker, detections, needed, by_score);
    for (column = 0; column < work->column_count; column++)
        if (work->row_of[column] >= 0)
            rv1106_see(tracker, &tracker->tracks[work->rows[work->row_of[column]]], detections, work->columns[column]);
}

/* Returns an element for a new track: a free one, otherwise the lost track that was not seen for the longest time; NULL
 * if there is none. */
static inline rv1106_track *rv1106_room(rv1106_tracker *tracker)
{
    rv1106_track *room = NULL;
    int i;
    for (i = 0; i < RV1106_MAX_TRACKS; i++) {
        rv1106_track *track = &tracker->tracks[i];
        if (track->state == RV1106_NO_TRACK) return track;
        if (track->state == RV1106_LOST && (!room || track->last_image < room->last_image)) room = track;
    }
    return room;
}

/* Starts a track with a detection. In the first image it gets its number at once. */
static inline void rv1106_begin(rv1106_tracker *tracker, const rv1106_detection *detections, int index)
{
    rv1106_track *track = rv1106_room(tracker);
    double measured[4];
    int k;
    if (!track) return;
    rv1106_measure(&detections[index], measured);
    for (k = 0; k < 4; k++) {
        track->motion[k].value = measured[k];
        track->motion[k].velocity = track->motion[k].covariance = 0;
        track->motion[k].value_variance = rv1106_spread(k, measured[3], 2 / 20.0, 1e-2);
        track->motion[k].velocity_variance = rv1106_spread(k, measured[3], 10 / 160.0, 1e-5);
    }
    track->state = tracker->image == 1 ? RV1106_TRACKED : RV1106_NEW;
    tracker->last_number = tracker->last_number < INT32_MAX ? tracker->last_number + 1 : 1;
    track->number = tracker->last_number;
    track->class_id = detections[index].class_id;
    track->score = detections[index].score;
    track->first_image = track->last_image = tracker->image;
    track->detection = index;
    tracker->track_of[index] = (int)(track - tracker->tracks);
}

/* If a seen and a lost track are at the same place, deletes the one that was tracked for a shorter time. */
static inline void rv1106_drop_doubles(rv1106_tracker *tracker)
{
    unsigned char dropped[RV1106_MAX_TRACKS] = {0};
    int i, j;
    for (i = 0; i < RV1106_MAX_TRACKS; i++) {
        const rv1106_track *seen = &tracker->tracks[i];
        float box[4], other[4];
        if (seen->state != RV1106_NEW && seen->state != RV1106_TRACKED) continue;
        rv1106_track_box(seen, box);
        for (j = 0; j < RV1106_MAX_TRACKS; j++) {
            const rv1106_track *lost = &tracker->tracks[j];
            if (lost->state != RV1106_LOST) continue;
            rv1106_track_box(lost, other);
            if (rv1106_common(box, other) > 0.85f)
                dropped[seen->last_image - seen->first_image > lost->last_image - lost->first_image ? j : i] = 1;
        }
    }
    for (i = 0; i < RV1106_MAX_TRACKS; i++)
        if (dropped[i]) tracker->tracks[i].state = RV1106_NO_TRACK;
}

/* Processes the detections of the next image.
 *   detections  as rv1106_decode returns them, best first; `count` elements, only read
 *   numbers     result array of `count` elements: the track number of each detection (1 or more), or 0 if it has none
 * Call it for each image, also if count is 0. Returns how many detections have a number, or RV1106_BAD_ARGUMENT (also
 * after INT32_MAX images: 2 years at 30 per second; rv1106_start_tracking starts again). */
static inline int rv1106_track_detections(rv1106_tracker *tracker, const rv1106_detection *detections, int count,
                                          int *numbers)
{
    int i, looked_at, followed = 0;
    if (!tracker || count < 0 || (count && (!detections || !numbers)) || tracker->image == INT32_MAX)
        return RV1106_BAD_ARGUMENT;
    looked_at = count < RV1106_MAX_TRACKS ? count : RV1106_MAX_TRACKS;
    tracker->image++;
    for (i = 0; i < looked_at; i++) tracker->track_of[i] = -1;
    for (i = 0; i < RV1106_MAX_TRACKS; i++) {
        tracker->tracks[i].detection = -1;
        if (tracker->tracks[i].state >= RV1106_TRACKED) rv1106_predict(&tracker->tracks[i]);
    }
    rv1106_take_rows(tracker, RV1106_TRACKED, RV1106_LOST);
    rv1106_take_columns(tracker, detections, looked_at, tracker->options.high, -1);
    rv1106_associate(tracker, detections, tracker->options.first, 1);
    rv1106_take_rows(tracker, RV1106_TRACKED, RV1106_TRACKED);
    rv1106_take_columns(tracker, detections, looked_at, tracker->options.low, tracker->options.high);
    rv1106_associate(tracker, detections, tracker->options.second, 0);
    for (i = 0; i < RV1106_MAX_TRACKS; i++)
        if (tracker->tracks[i].state == RV1106_TRACKED && tracker->tracks[i].detection < 0)
            tracker->tracks[i].state = RV1106_LOST;
    rv1106_take_rows(tracker, RV1106_NEW, RV1106_NEW);
    rv1106_take_columns(tracker, detections, looked_at, tracker->options.high, -1);
    rv1106_associate(tracker, detections, tracker->options.new_track, 1);
    for (i = 0; i < RV1106_MAX_TRACKS; i++) {
        rv1106_track *track = &tracker->tracks[i];
        if ((track->state == RV1106_NEW && track->detection < 0) ||
            (track->state == RV1106_LOST && tracker->image - track->last_image > tracker->options.patience))
            track->state = RV1106_NO_TRACK;
    }
    rv1106_take_columns(tracker, detections, looked_at, tracker->options.high, -1);
    for (i = 0; i < tracker->work.column_count; i++)
        if (detections[tracker->work.columns[i]].score >= tracker->options.start)
            rv1106_begin(tracker, detections, tracker->work.columns[i]);
    rv1106_drop_doubles(tracker);
    for (i = 0; i < count; i++) {
        const int at = i < looked_at ? tracker->track_of[i] : -1;
        const rv1106_track *track = at < 0 ? NULL : &tracker->tracks[at];
        numbers[i] = track && track->state == RV1106_TRACKED && track->detection == i ? track->number : 0;
        followed += numbers[i] > 0;
    }
    return followed;
}

#endif

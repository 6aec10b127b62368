/* The headers for camera programs as a shared library, for the tests. */
#include "draw.h"
#include "letterbox.h"
#include "track.h"

int shim_fill_input(const rv1106_input *input, const rv1106_image *image, const rv1106_letterbox *fit)
{
    return rv1106_fill_input(input, image, fit);
}

rv1106_letterbox shim_fit_in(int model_width, int model_height, int place, int width, int height)
{
    rv1106_model model;
    memset(&model, 0, sizeof model);
    model.width = model_width;
    model.height = model_height;
    model.place = (rv1106_place)place;
    return rv1106_fit(&model, width, height);
}

int shim_start_tracking(rv1106_tracker *tracker, const rv1106_tracking *options)
{
    return rv1106_start_tracking(tracker, options);
}

/* A row of `table`: class, score, x1, y1, x2, y2. */
int shim_track(rv1106_tracker *tracker, const float *table, int count, int *numbers)
{
    rv1106_detection detections[300];
    int i;
    memset(detections, 0, sizeof detections);
    for (i = 0; i < count && i < 300; i++, table += 6) {
        detections[i].class_id = (int)table[0];
        detections[i].score = table[1];
        detections[i].x1 = table[2];
        detections[i].y1 = table[3];
        detections[i].x2 = table[4];
        detections[i].y2 = table[5];
    }
    return rv1106_track_detections(tracker, detections, count, numbers);
}

size_t shim_tracker_size(void) { return sizeof(rv1106_tracker); }

/* `table`: one row, as for shim_track. */
void shim_draw_detection(const rv1106_canvas *canvas, const float *table, const char *name, int number)
{
    rv1106_detection detection;
    memset(&detection, 0, sizeof detection);
    detection.class_id = (int)table[0];
    detection.score = table[1];
    detection.x1 = table[2];
    detection.y1 = table[3];
    detection.x2 = table[4];
    detection.y2 = table[5];
    rv1106_draw_detection(canvas, &detection, name, number);
}

int shim_draw_text(const rv1106_canvas *canvas, int x, int y, const char *text, int size, rv1106_paint paint)
{
    return rv1106_draw_text(canvas, x, y, text, size, paint);
}

void shim_draw_box(const rv1106_canvas *canvas, const float *box, int thickness, rv1106_paint paint)
{
    rv1106_draw_box(canvas, box[0], box[1], box[2], box[3], thickness, paint);
}

void shim_draw_outline(const rv1106_canvas *canvas, const float *corners, int count, int thickness, rv1106_paint paint)
{
    rv1106_draw_outline(canvas, corners, count, thickness, paint);
}

void shim_draw_point(const rv1106_canvas *canvas, const float *place, int size, rv1106_paint paint)
{
    rv1106_draw_point(canvas, place[0], place[1], size, paint);
}

void shim_draw_mask(const rv1106_canvas *canvas, const uint8_t *mask, int x, int y, int width, int height,
                    rv1106_paint paint)
{
    rv1106_draw_mask(canvas, mask, (size_t)width, x, y, width, height, paint);
}

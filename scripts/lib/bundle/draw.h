/* Draws boxes, names, keypoints and masks into an image: RGB, BGR, grey, NV12 or NV21, for example in the camera's
 * buffer.
 *
 * C99 and C++. No library, no allocation, no global state; thread-safe if each thread draws into its own image.
 * Everything is clipped to the image. Coordinates are image pixels, with (0, 0) at the top left.
 *
 *   rv1106_canvas canvas = {RV1106_NV12, 1920, 1080, {luma, chroma}, {1920, 1920}};
 *   rv1106_draw_detection(&canvas, &detections[i], RV1106_MODEL_NAMES[detections[i].class_id], numbers[i]);
 *
 * In NV12 and NV21, each block of 2 x 2 pixels has one colour: lines of at least two pixels look best there.
 */
#ifndef RV1106_DRAW_H
#define RV1106_DRAW_H

#include "letterbox.h"

/* An image to draw into; fields as in rv1106_image. The caller owns the planes. YUYV is not supported. In NV12 and
 * NV21, strides[1] must be at least the width rounded up to an even number. */
typedef struct {
    rv1106_format format;
    int width, height;
    uint8_t *planes[2];
    size_t strides[2];
} rv1106_canvas;

/* A colour; each component 0 to 255. */
typedef struct {
    uint8_t red, green, blue;
} rv1106_paint;

enum { RV1106_GLYPH_WIDTH = 6, RV1106_GLYPH_HEIGHT = 8 }; /* pixels, including the space to the next glyph */

/* Returns the glyph of an ASCII character: 5 x 7 bits, row by row from the top, bit 34 first. Others give '?'. */
static inline uint64_t rv1106_glyph(char character)
{
    static const uint64_t glyphs[95] = {
        0x000000000, 0x108421004, 0x294000000, 0x295f57d4a, 0x11f4717c4, 0x672222273, 0x32544564d, 0x108000000,
        0x088842082, 0x208210888, 0x009575480, 0x0084f9080, 0x000001888, 0x000070000, 0x00000018c, 0x042222210,
        0x3a33ae62e, 0x11842108e, 0x3a211111f, 0x78217043e, 0x08ca97c42, 0x7e1e0862e, 0x1910f462e, 0x7c2221108,
        0x3a317462e, 0x3a317844c, 0x018c03180, 0x018c03088, 0x044441041, 0x001f07c00, 0x410411110, 0x3a2111004,
        0x3a37ada0f, 0x11518fe31, 0x7a31f463e, 0x3a308422e, 0x72518c65c, 0x7e10f421f, 0x7e10f4210, 0x3a30bc62f,
        0x4631fc631, 0x38842108e, 0x1c4210a4c, 0x4654c5251, 0x42108421f, 0x4775ac631, 0x4739ace71, 0x3a318c62e,
        0x7a31f4210, 0x3a318d64d, 0x7a31f5251, 0x3e107043e, 0x7c8421084, 0x46318c62e, 0x46318a944, 0x4631ad771,
        0x462a22a31, 0x462a21084, 0x7c222221f, 0x39084210e, 0x420820821, 0x38421084e, 0x115100000, 0x00000001f,
        0x208000000, 0x000e0be2f, 0x4216cc63e, 0x000f8420f, 0x042d9c62f, 0x000e8fe0f, 0x191c42108, 0x000f8bc2e,
        0x4216cc631, 0x100c2108e, 0x080610a4c, 0x4212a6292, 0x30842108e, 0x001aad6b5, 0x0016cc631, 0x000e8c62e,
        0x001e8fa10, 0x000f8bc21, 0x0016cc210, 0x000f8383e, 0x211e42126, 0x00118c66d, 0x00118c544, 0x00118d6aa,
        0x001151151, 0x00118bc2e, 0x001f1111f, 0x088441082, 0x108421084, 0x208411088, 0x0008a8800,
    };
    return glyphs[character >= ' ' && character <= '~' ? character - ' ' : '?' - ' '];
}

/* Returns a colour for a class or track number; consecutive numbers have clearly different colours. */
static inline rv1106_paint rv1106_paint_of(int number)
{
    static const rv1106_paint paints[12] = {
        {230, 25, 75}, {60, 180, 75}, {255, 225, 25}, {0, 130, 200},  {245, 130, 48}, {145, 30, 180},
        {70, 240, 240}, {240, 50, 230}, {210, 245, 60}, {250, 190, 212}, {0, 128, 128}, {170, 110, 40},
    };
    return paints[(number % 12 + 12) % 12];
}

/* Returns 1 if a canvas can be drawn into, otherwise 0; strides are not checked. */
static inline int rv1106_is_canvas(const rv1106_canvas *canvas)
{
    return canvas && canvas->planes[0] && canvas->width > 0 && canvas->height > 0 &&
           (canvas->planes[1] || !rv1106_has_chroma(canvas->format)) && canvas->format != RV1106_YUYV;
}

/* Returns a blend of an old and a new byte: `part` / 256 is the weight of the new one. */
static inline uint8_t rv1106_mixed(uint8_t old, int value, int part)
{
    return (uint8_t)(old + (value - old) * part / 256);
}

/* Converts a colour to Y, U and V: ITU-R BT.601, limited range (Y 16 to 235). */
static inline void rv1106_to_yuv(rv1106_paint paint, int yuv[3])
{
    const int r = paint.red, g = paint.green, b = paint.blue;
    yuv[0] = (66 * r + 129 * g + 25 * b + 128) / 256 + 16;
    yuv[1] = (-38 * r - 74 * g + 112 * b + 128 + 32768) / 256;
    yuv[2] = (112 * r - 94 * g - 18 * b + 128 + 32768) / 256;
}

/* Draws pixels x1 to x2 - 1 of row y; `part` / 256 is the weight of the new colour. */
static inline void rv1106_draw_run(const rv1106_canvas *canvas, int x1, int x2, int y, rv1106_paint paint, int part)
{
    uint8_t *row, *chroma;
    int x, yuv[3];
    if (x1 < 0) x1 = 0;
    if (x2 > canvas->width) x2 = canvas->width;
    if (y < 0 || y >= canvas->height || x1 >= x2) return; /* else an empty run would colour the chroma of its pair */
    row = canvas->planes[0] + (size_t)y * canvas->strides[0];
    if (canvas->format == RV1106_RGB || canvas->format == RV1106_BGR) {
        const int first = canvas->format == RV1106_RGB ? paint.red : paint.blue;
        const int last = canvas->format == RV1106_RGB ? paint.blue : paint.red;
        for (x = x1; x < x2; x++) {
            uint8_t *pixel = row + 3 * x;
            pixel[0] = rv1106_mixed(pixel[0], first, part);
            pixel[1] = rv1106_mixed(pixel[1], paint.green, part);
            pixel[2] = rv1106_mixed(pixel[2], last, part);
        }
        return;
    }
    rv1106_to_yuv(paint, yuv);
    if (canvas->format == RV1106_GREY)
        yuv[0] = (9798 * paint.red + 19235 * paint.green + 3735 * paint.blue + (1 << 14)) >> 15;
    for (x = x1; x < x2; x++) row[x] = rv1106_mixed(row[x], yuv[0], part);
    if (!rv1106_has_chroma(canvas->format)) return;
    chroma = canvas->planes[1] + (size_t)(y / 2) * canvas->strides[1];
    for (x = x1 & ~1; x < x2; x += 2) {
        const int nv21 = canvas->format == RV1106_NV21;
        chroma[x] = rv1106_mixed(chroma[x], yuv[1 + nv21], part);
        chroma[x + 1] = rv1106_mixed(chroma[x + 1], yuv[2 - nv21], part);
    }
}

/* Converts a coordinate to int. NaN and values far outside any image are limited to -32768 or 32768. */
static inline int rv1106_pixel(float position)
{
    return position >= -32768 ? position <= 32768 ? (int)position : 32768 : -32768;
}

/* Draws a filled rectangle: columns x1 to x2 - 1, rows y1 to y2 - 1. */
static inline void rv1106_draw_area(const rv1106_canvas *canvas, int x1, int y1, int x2, int y2, rv1106_paint paint)
{
    int y;
    if (!rv1106_is_canvas(canvas)) return;
    if (y2 > canvas->height) y2 = canvas->height;
    for (y = y1 < 0 ? 0 : y1; y < y2; y++) rv1106_draw_run(canvas, x1, x2, y, paint, 256);
}

/* Draws the outline of a box. Its lines are `thickness` pixels wide and lie inside the box. */
static inline void rv1106_draw_box(const rv1106_canvas *canvas, float x1, float y1, float x2, float y2, int thickness,
                                   rv1106_paint paint)
{
    const int left = rv1106_pixel(x1), top = rv1106_pixel(y1), right = rv1106_pixel(x2), bottom = rv1106_pixel(y2);
    rv1106_draw_area(canvas, left, top, right, top + thickness, paint);
    rv1106_draw_area(canvas, left, bottom - thickness, right, bottom, paint);
    rv1106_draw_area(canvas, left, top, left + thickness, bottom, paint);
    rv1106_draw_area(canvas, right - thickness, top, right, bottom, paint);
}

/* Draws a square dot of `size` x `size` pixels, centred on a point: a keypoint. */
static inline void rv1106_draw_point(const rv1106_canvas *canvas, float x, float y, int size, rv1106_paint paint)
{
    const int left = rv1106_pixel(x) - size / 2, top = rv1106_pixel(y) - size / 2;
    rv1106_draw_area(canvas, left, top, left + size, top + size, paint);
}

/* Draws a line of `thickness` pixels, for example a limb between two keypoints or a side of a rotated box. */
static inline void rv1106_draw_line(const rv1106_canvas *canvas, float x1, float y1, float x2, float y2, int thickness,
                                    rv1106_paint paint)
{
    const int ax = rv1106_pixel(x1), ay = rv1106_pixel(y1), bx = rv1106_pixel(x2), by = rv1106_pixel(y2);
    const int across = bx > ax ? bx - ax : ax - bx, down = by > ay ? by - ay : ay - by;
    const int steps = across > down ? across : down;
    int i;
    for (i = 0; i <= steps; i++) {
        const int x = steps ? ax + (int)((int64_t)(bx - ax) * i / steps) : ax;
        const int y = steps ? ay + (int)((int64_t)(by - ay) * i / steps) : ay;
        rv1106_draw_point(canvas, (float)x, (float)y, thickness, paint);
    }
}

/* Draws the outline of a polygon. `corners` holds `count` points: x0, y0, x1, y1, ... */
static inline void rv1106_draw_outline(const rv1106_canvas *canvas, const float *corners, int count, int thickness,
                                       rv1106_paint paint)
{
    int i;
    for (i = 0; i < count; i++) {
        const float *from = corners + 2 * i, *to = corners + 2 * ((i + 1) % count);
        rv1106_draw_line(canvas, from[0], from[1], to[0], to[1], thickness, paint);
    }
}

/* Draws a mask of `width` x `height` bytes at half opacity, with its top left pixel at (x, y): where a byte is not 0,
 * the pixel is a half-and-half blend with the colour. The rows of the mask are `stride` bytes apart. */
static inline void rv1106_draw_mask(const rv1106_canvas *canvas, const uint8_t *mask, size_t stride, int x, int y,
                                    int width, int height, rv1106_paint paint)
{
    int row, at, begin;
    if (!rv1106_is_canvas(canvas) || !mask) return;
    for (row = 0; row < height; row++, mask += stride)
        for (at = 0; at < width; at++) {
            if (!mask[at]) continue;
            for (begin = at; at < width && mask[at]; at++) continue;
            rv1106_draw_run(canvas, x + begin, x + at, y + row, paint, 128);
        }
}

/* Draws one line of UTF-8 text with its top left corner at (x, y). Each pixel of a glyph becomes `size` x `size`
 * pixels. A character that is not ASCII is drawn as one '?'. Returns the x coordinate after the text. */
static inline int rv1106_draw_text(const rv1106_canvas *canvas, int x, int y, const char *text, int size,
                                   rv1106_paint paint)
{
    int row, column;
    for (; *text; text++) {
        const uint64_t glyph = rv1106_glyph(*text);
        if (((unsigned char)*text & 0xc0) == 0x80) continue; /* UTF-8 continuation byte */
        for (row = 0; row < 7; row++)
            for (column = 0; column < 5; column++)
                if (glyph >> (34 - 5 * row - column) & 1)
                    rv1106_draw_area(canvas, x + column * size, y + row * size, x + (column + 1) * size,
                                     y + (row + 1) * size, paint);
        x += RV1106_GLYPH_WIDTH * size;
    }
    return x;
}

/* Returns the width of a text in pixels, as rv1106_draw_text draws it. */
static inline int rv1106_text_width(const char *text, int size)
{
    int width = 0;
    for (; *text; text++) width += ((unsigned char)*text & 0xc0) == 0x80 ? 0 : RV1106_GLYPH_WIDTH * size;
    return width;
}

/* Converts a number, 0 or more, to decimal digits. Returns a pointer to the first digit within `digits`. */
static inline const char *rv1106_digits(int number, char digits[12])
{
    int at = 11;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0 && at > 0);
    return digits + at;
}

/* Returns the colour of a detection: the one of its track number if that is above 0, otherwise the one of its class. */
static inline rv1106_paint rv1106_paint_for(const rv1106_detection *detection, int number)
{
    return rv1106_paint_of(number > 0 ? number : detection->class_id);
}

/* Returns the scale of text and lines for an image: 1 below 640 pixels of width, 2 below 1280, and so on. */
static inline int rv1106_draw_size(const rv1106_canvas *canvas)
{
    return 1 + canvas->width / 640;
}

/* Draws a label above a detection's box: track number if `number` is above 0, name unless NULL, score in percent. */
static inline void rv1106_draw_label(const rv1106_canvas *canvas, const rv1106_detection *detection, const char *name,
                                     int number)
{
    const rv1106_paint paint = rv1106_paint_for(detection, number);
    const int size = rv1106_draw_size(canvas), percent = rv1106_pixel(detection->score * 100 + 0.5f);
    rv1106_paint ink = {0, 0, 0};
    int x, y, width;
    char digits[2][12];
    const char *score, *track;
    if (!rv1106_is_canvas(canvas)) return;
    if (2 * paint.red + 5 * paint.green + paint.blue < 8 * 110) ink.red = ink.green = ink.blue = 255;
    score = rv1106_digits(percent < 0 ? 0 : percent, digits[0]);
    track = rv1106_digits(number > 0 ? number : 0, digits[1]);
    width = rv1106_text_width(name ? name : "", size) + rv1106_text_width(score, size) +
            (number > 0 ? rv1106_text_width(track, size) + 2 * RV1106_GLYPH_WIDTH * size : 0) +
            RV1106_GLYPH_WIDTH * size + size;
    x = rv1106_pixel(detection->x1);
    y = rv1106_pixel(detection->y1) - (RV1106_GLYPH_HEIGHT + 1) * size;
    if (y < 0) y = rv1106_pixel(detection->y1) < 0 ? 0 : rv1106_pixel(detection->y1);
    rv1106_draw_area(canvas, x, y, x + width, y + (RV1106_GLYPH_HEIGHT + 1) * size, paint);
    x += size;
    y += size;
    if (number > 0) {
        x = rv1106_draw_text(canvas, x, y, "#", size, ink);
        x = rv1106_draw_text(canvas, x, y, track, size, ink) + RV1106_GLYPH_WIDTH * size;
    }
    if (name) x = rv1106_draw_text(canvas, x, y, name, size, ink) + RV1106_GLYPH_WIDTH * size;
    rv1106_draw_text(canvas, x, y, score, size, ink);
}

/* Draws a detection in image pixels: its box, with a label above it. `name` may be NULL; `number` is the track number,
 * or 0 for none. */
static inline void rv1106_draw_detection(const rv1106_canvas *canvas, const rv1106_detection *detection,
                                         const char *name, int number)
{
    rv1106_draw_box(canvas, detection->x1, detection->y1, detection->x2, detection->y2, 2 * rv1106_draw_size(canvas),
                    rv1106_paint_for(detection, number));
    rv1106_draw_label(canvas, detection, name, number);
}

#endif

/* Converts a camera frame (RGB, BGR, grey, NV12, NV21, YUYV) to the padded or cropped input of a model, as in training.
 *
 * C99 and C++. No library, no allocation, no global state; about 2 KB of stack, or 22 KB to crop. The output has the
 * same bytes as the project's Python code (cv2.cvtColor to RGB, then cv2.resize INTER_LINEAR; to crop, Pillow's resize
 * BILINEAR), so the accuracy on the board is the one that was measured.
 *
 *   rv1106_image frame = {RV1106_NV12, 1920, 1080, {luma, chroma}, {1920, 1920}};
 *   rv1106_input input = rv1106_input_of(&RV1106_MODEL, memory, bytes_per_row);
 *   rv1106_letterbox fit = rv1106_fit(&RV1106_MODEL, frame.width, frame.height);
 *   status = rv1106_fill_input(&input, &frame, &fit);               rv1106_decode uses `fit` to map boxes back
 *
 * Formulas, in the integer arithmetic of OpenCV:
 *   from     = (at + 0.5) * source side / fitted side - 0.5, clipped to the image; its fraction in units of 1/2048
 *   red      = (1220542 * max(Y - 16, 0) + 1673527 * (V - 128) + 2^19) >> 20; green and blue similarly. ITU-R BT.601,
 *              limited range (Y from 16 to 235)
 *   grey     = (9798 * red + 19235 * green + 3735 * blue + 2^14) >> 15
 * To crop, the filter of Pillow averages all pixels that an output pixel covers: a pixel at distance d from it, in
 * output pixels (if the image is enlarged, in image pixels), has a weight proportional to max(0, 1 - d), in units of
 * 2^-22; first all columns are scaled and rounded, then the rows.
 */
#ifndef RV1106_LETTERBOX_H
#define RV1106_LETTERBOX_H

#include "decode.h"

/* An image. planes[0] holds the pixels, or Y of NV12 and NV21; planes[1] holds U and V of NV12 and NV21, otherwise it
 * is not used. `strides` are the bytes between the starts of two rows, at least rv1106_row_bytes; strides[1] is at
 * least the width rounded up to an even number. The caller owns the memory. */
typedef struct {
    rv1106_format format;
    int width, height;
    const uint8_t *planes[2];
    size_t strides[2];
} rv1106_image;

/* The input of a model. `channels` is RV1106_RGB, RV1106_BGR or RV1106_GREY; `fill` is the grey value around the image,
 * 0 to 255; `stride` is the number of bytes between the starts of two rows; `place` is that of the model. The caller
 * owns `pixels`. */
typedef struct {
    rv1106_format channels;
    int fill, width, height;
    uint8_t *pixels;
    size_t stride;
    rv1106_place place;
} rv1106_input;

enum {
    RV1106_BLOCK = 64,         /* columns processed at a time; their data fits on the stack and in the cache */
    RV1106_COVERED = 2304,     /* most image pixels in a row that are read for a block of a cropped image */
    RV1106_HELD = 16,          /* rows of a block of a cropped image that are kept */
    RV1106_IMAGE_LIMIT = 32767 /* largest width or height of an image */
};

/* Source of an output column or row: two neighbouring source positions and their weights in units of 1/2048. */
typedef struct {
    int first, second;
    int16_t weights[2];
} rv1106_tap;

/* `count` columns of the scaled image, and two source rows interpolated at these columns. `held` holds the numbers of
 * these source rows; the values of `rows` are multiplied by 128. */
typedef struct {
    rv1106_tap taps[RV1106_BLOCK];
    int count, depth, held[2];
    int16_t rows[2][3 * RV1106_BLOCK];
} rv1106_block;

/* The image pixels that a column or row of a cropped image covers: `count` of them from `first` on, around `centre`.
 * The weight of a pixel falls to 0 at the distance `reach`; `total` is the sum of their weights. */
typedef struct {
    int first, count;
    double centre, reach, total;
} rv1106_window;

/* `count` columns of a cropped image, which cover `span` image pixels from `first` on. `weights` holds the weights of
 * the pixels of each column in units of 2^-22, column by column. `rows` holds scaled rows of the image, and `held` their
 * numbers: row y is kept in place y % RV1106_HELD. */
typedef struct {
    int count, depth, first, span, held[RV1106_HELD];
    int firsts[RV1106_BLOCK], counts[RV1106_BLOCK];
    int32_t weights[RV1106_COVERED];
    uint8_t pixels[3 * RV1106_COVERED];
    uint8_t rows[RV1106_HELD][3 * RV1106_BLOCK];
} rv1106_columns;

/* Returns the input of a model in the caller's memory `pixels`: model->height rows, `stride` bytes apart. */
static inline rv1106_input rv1106_input_of(const rv1106_model *model, uint8_t *pixels, size_t stride)
{
    const rv1106_input input = {model->channels, model->fill, model->width, model->height, pixels, stride, model->place};
    return input;
}

/* Returns the bytes of a row of `width` pixels without padding; for NV12 and NV21, of a row of Y. */
static inline size_t rv1106_row_bytes(rv1106_format format, int width)
{
    switch (format) {
    case RV1106_RGB:
    case RV1106_BGR: return 3 * (size_t)width;
    case RV1106_YUYV: return 2 * (size_t)width;
    default: return (size_t)width;
    }
}

/* Returns 1 if a format has a second plane (U and V), otherwise 0. */
static inline int rv1106_has_chroma(rv1106_format format)
{
    return format == RV1106_NV12 || format == RV1106_NV21;
}

/* Rounds to an integer, halves to even. */
static inline int rv1106_round(double value)
{
    int whole = (int)value;
    double rest;
    if (value < whole) whole--;
    rest = value - whole;
    return rest > 0.5 || (rest == 0.5 && whole % 2) ? whole + 1 : whole;
}

/* Returns the size in input pixels of an image side that is scaled by `scale`; at least 1. */
static inline int rv1106_fitted(int side, double scale)
{
    const int fitted = rv1106_round(side * scale);
    return fitted > 1 ? fitted : 1;
}

/* Returns the source of pixel `at` when `side` pixels are scaled to `fitted` pixels. OpenCV clips columns to the image
 * before it takes the fraction (`cut` = 1), and rows after it (`cut` = 0). As there, the position is a float. */
static inline rv1106_tap rv1106_tap_of(int at, int fitted, int side, int cut)
{
    const double scale = 1 / ((double)fitted / side);
    const float from = (float)((at + 0.5) * scale - 0.5);
    int first = (int)from - (from < (float)(int)from);
    float rest = from - (float)first;
    rv1106_tap tap;
    if (cut && (first < 0 || first >= side - 1)) {
        first = first < 0 ? 0 : side - 1;
        rest = 0;
    }
    tap.weights[0] = (int16_t)rv1106_round((double)((1 - rest) * 2048));
    tap.weights[1] = (int16_t)rv1106_round((double)(rest * 2048));
    tap.first = first < 0 ? 0 : first < side ? first : side - 1;
    tap.second = first + 1 < 0 ? 0 : first + 1 < side ? first + 1 : side - 1;
    return tap;
}

/* Limits a value to 0..255. */
static inline int rv1106_byte(int value)
{
    return value < 0 ? 0 : value > 255 ? 255 : value;
}

/* Computes what U and V add to red, green and blue, in units of 2^-20, plus 1/2 for rounding. */
static inline void rv1106_chroma(int u, int v, int parts[3])
{
    u -= 128;
    v -= 128;
    parts[0] = 1673527 * v + (1 << 19);
    parts[1] = -852492 * v - 409993 * u + (1 << 19);
    parts[2] = 2116026 * u + (1 << 19);
}

/* Computes red, green and blue of a pixel. */
static inline void rv1106_colour(int y, const int parts[3], int rgb[3])
{
    const int light = (y > 16 ? y - 16 : 0) * 1220542;
    int c;
    for (c = 0; c < 3; c++) rgb[c] = rv1106_byte((light + parts[c]) >> 20);
}

/* Interpolates one value of a row between two source values. */
static inline int16_t rv1106_between(const rv1106_tap *tap, int first, int second)
{
    return (int16_t)((first * tap->weights[0] + second * tap->weights[1]) >> 4);
}

/* Reads a row of RGB, or of BGR if `swapped` is 1. */
static inline void rv1106_row_of_pixels(rv1106_block *block, const uint8_t *line, int16_t *row, int swapped)
{
    int i;
    for (i = 0; i < block->count; i++, row += 3) {
        const rv1106_tap *tap = &block->taps[i];
        const uint8_t *first = line + 3 * tap->first, *second = line + 3 * tap->second;
        row[2 * swapped] = rv1106_between(tap, first[0], second[0]);
        row[1] = rv1106_between(tap, first[1], second[1]);
        row[2 - 2 * swapped] = rv1106_between(tap, first[2], second[2]);
    }
}

/* Reads a row of grey. */
static inline void rv1106_row_of_grey(rv1106_block *block, const uint8_t *line, int16_t *row)
{
    int i;
    for (i = 0; i < block->count; i++)
        row[i] = rv1106_between(&block->taps[i], line[block->taps[i].first], line[block->taps[i].second]);
}

/* Reads a row of YUV. Y of pixel x is luma[x * step]. For even x, pixels x and x + 1 share U at chroma[x * step + u]
 * and V at chroma[x * step + v]. Work is saved where no interpolation is needed (as at a third of the size), and where
 * both source pixels share U and V. */
static inline void rv1106_row_of_yuv(rv1106_block *block, const uint8_t *luma, const uint8_t *chroma, int step, int u,
                                     int v, int16_t *row)
{
    int i, c, parts[3], first[3], second[3];
    for (i = 0; i < block->count; i++, row += 3) {
        const rv1106_tap *tap = &block->taps[i];
        const uint8_t *pair = chroma + (tap->first & ~1) * step;
        rv1106_chroma(pair[u], pair[v], parts);
        rv1106_colour(luma[tap->first * step], parts, first);
        if (!tap->weights[1]) {
            for (c = 0; c < 3; c++) row[c] = rv1106_between(tap, first[c], 0);
            continue;
        }
        if (tap->second % 2 == 0) {
            pair = chroma + tap->second * step;
            rv1106_chroma(pair[u], pair[v], parts);
        }
        rv1106_colour(luma[tap->second * step], parts, second);
        for (c = 0; c < 3; c++) row[c] = rv1106_between(tap, first[c], second[c]);
    }
}

/* Reads source row `y` at the columns of the block. */
static inline void rv1106_read_row(rv1106_block *block, const rv1106_image *image, int y, int16_t *row)
{
    const uint8_t *line = image->planes[0] + (size_t)y * image->strides[0], *chroma;
    switch (image->format) {
    case RV1106_RGB:
    case RV1106_BGR: rv1106_row_of_pixels(block, line, row, image->format == RV1106_BGR); break;
    case RV1106_GREY: rv1106_row_of_grey(block, line, row); break;
    case RV1106_YUYV: rv1106_row_of_yuv(block, line, line, 2, 1, 3, row); break;
    default:
        chroma = image->planes[1] + (size_t)(y / 2) * image->strides[1];
        rv1106_row_of_yuv(block, line, chroma, 1, image->format == RV1106_NV21, image->format == RV1106_NV12, row);
    }
}

/* Returns which of the block's two rows (0 or 1) holds source row `y`. If none does, reads it into the row that does
 * not hold source row `needed`. */
static inline int rv1106_hold(rv1106_block *block, const rv1106_image *image, int y, int needed)
{
    const int place = block->held[0] == y ? 0 : block->held[1] == y ? 1 : block->held[0] == needed;
    if (block->held[place] != y) rv1106_read_row(block, image, y, block->rows[place]);
    block->held[place] = y;
    return place;
}

/* Writes `count` pixels of a scaled row in the channel order of the model. `values` has `depth` values per pixel: red,
 * green, blue, or one grey value. */
static inline void rv1106_write_row(const rv1106_input *input, const uint8_t *values, int count, int depth,
                                    uint8_t *out)
{
    const int green = depth / 2, blue = depth - 1;
    int i;
    if (input->channels == RV1106_GREY)
        for (i = 0; i < count; i++, values += depth)
            out[i] = (uint8_t)((9798 * values[0] + 19235 * values[green] + 3735 * values[blue] + (1 << 14)) >> 15);
    else if (input->channels == RV1106_RGB && depth == 3) memcpy(out, values, 3 * (size_t)count);
    else
        for (i = 0; i < count; i++, values += depth, out += 3) {
            out[0] = values[input->channels == RV1106_RGB ? 0 : blue];
            out[1] = values[green];
            out[2] = values[input->channels == RV1106_RGB ? blue : 0];
        }
}

/* Writes the columns of a block in all `height` rows of the scaled image; `origin` is the block's first pixel in the
 * input. */
static inline void rv1106_write_block(const rv1106_input *input, const rv1106_image *image, rv1106_block *block,
                                      int height, uint8_t *origin)
{
    uint8_t values[3 * RV1106_BLOCK];
    int y, i;
    block->held[0] = block->held[1] = -1;
    for (y = 0; y < height; y++) {
        const rv1106_tap tap = rv1106_tap_of(y, height, image->height, 0);
        const int16_t *first = block->rows[rv1106_hold(block, image, tap.first, tap.second)];
        const int16_t *second = first; /* its weight is 0 if the row needs no interpolation */
        if (tap.weights[1]) second = block->rows[rv1106_hold(block, image, tap.second, tap.first)];
        for (i = 0; i < block->count * block->depth; i++)
            values[i] =
                (uint8_t)((((first[i] * tap.weights[0]) >> 16) + ((second[i] * tap.weights[1]) >> 16) + 2) >> 2);
        rv1106_write_row(input, values, block->count, block->depth, origin + (size_t)y * input->stride);
    }
}

/* Fills the input with `fill`, except for the `width` x `height` pixels at (`left`, `top`). */
static inline void rv1106_fill_border(const rv1106_input *input, int left, int top, int width, int height)
{
    const size_t depth = input->channels == RV1106_GREY ? 1 : 3;
    int y;
    for (y = 0; y < input->height; y++) {
        uint8_t *row = input->pixels + (size_t)y * input->stride;
        if (y < top || y >= top + height) memset(row, input->fill, depth * (size_t)input->width);
        else {
            memset(row, input->fill, depth * (size_t)left);
            memset(row + depth * (size_t)(left + width), input->fill, depth * (size_t)(input->width - left - width));
        }
    }
}

/* Returns the weight of pixel number `at` of a window, before it is divided by their sum. The order of the operations is
 * Pillow's. */
static inline double rv1106_weight(const rv1106_window *window, int at)
{
    double far = (window->first + at - window->centre + 0.5) * (1 / window->reach);
    if (far < 0) far = -far;
    return far < 1 ? 1 - far : 0;
}

/* Returns the weight of pixel number `at` of a window in units of 2^-22. */
static inline int32_t rv1106_fixed_weight(const rv1106_window *window, int at)
{
    return (int32_t)(rv1106_weight(window, at) / window->total * (1 << 22) + 0.5);
}

/* Returns what column or row `at` covers when `side` pixels are scaled to `scaled` pixels. */
static inline rv1106_window rv1106_window_of(int at, int scaled, int side)
{
    const double scale = (double)side / scaled;
    rv1106_window window;
    int i, last;
    window.reach = scale > 1 ? scale : 1;
    window.centre = (at + 0.5) * scale;
    window.first = (int)(window.centre - window.reach + 0.5);
    if (window.first < 0) window.first = 0;
    last = (int)(window.centre + window.reach + 0.5);
    window.count = (last < side ? last : side) - window.first;
    window.total = 0;
    for (i = 0; i < window.count; i++) window.total += rv1106_weight(&window, i);
    return window;
}

/* Takes as many columns as fit into a block, at most `most`, from column `at` of an image whose `side` pixels are scaled
 * to `scaled` pixels. Returns their number; 0 if even one covers too many pixels. */
static inline int rv1106_begin_columns(rv1106_columns *block, int at, int most, int scaled, int side)
{
    int i, used = 0;
    block->span = 0;
    for (block->count = 0; block->count < most && block->count < RV1106_BLOCK; block->count++) {
        const rv1106_window window = rv1106_window_of(at + block->count, scaled, side);
        if (!block->count) block->first = window.first;
        if (used + window.count > RV1106_COVERED || window.first + window.count - block->first > RV1106_COVERED) break;
        block->span = window.first + window.count - block->first;
        block->firsts[block->count] = window.first - block->first;
        block->counts[block->count] = window.count;
        for (i = 0; i < window.count; i++) block->weights[used++] = rv1106_fixed_weight(&window, i);
    }
    return block->count;
}

/* Reads `count` pixels of a row of YUV from pixel `first` on as RGB; the other arguments are as in rv1106_row_of_yuv. */
static inline void rv1106_pixels_of_yuv(int first, int count, const uint8_t *luma, const uint8_t *chroma, int step,
                                        int u, int v, uint8_t *values)
{
    int x, c, parts[3] = {0, 0, 0}, rgb[3];
    for (x = first; x < first + count; x++, values += 3) {
        const uint8_t *pair = chroma + (x & ~1) * step;
        if (x == first || !(x & 1)) rv1106_chroma(pair[u], pair[v], parts);
        rv1106_colour(luma[x * step], parts, rgb);
        for (c = 0; c < 3; c++) values[c] = (uint8_t)rgb[c];
    }
}

/* Reads `count` pixels of row `y` from pixel `first` on: red, green, blue, or grey if the image is grey. */
static inline void rv1106_read_pixels(const rv1106_image *image, int y, int first, int count, uint8_t *values)
{
    const uint8_t *line = image->planes[0] + (size_t)y * image->strides[0], *chroma;
    int i, c;
    switch (image->format) {
    case RV1106_RGB: memcpy(values, line + 3 * (size_t)first, 3 * (size_t)count); break;
    case RV1106_BGR:
        line += 3 * (size_t)first;
        for (i = 0; i < count; i++)
            for (c = 0; c < 3; c++) values[3 * i + c] = line[3 * i + 2 - c];
        break;
    case RV1106_GREY: memcpy(values, line + first, (size_t)count); break;
    case RV1106_YUYV: rv1106_pixels_of_yuv(first, count, line, line, 2, 1, 3, values); break;
    default:
        chroma = image->planes[1] + (size_t)(y / 2) * image->strides[1];
        rv1106_pixels_of_yuv(first, count, line, chroma, 1, image->format == RV1106_NV21,
                             image->format == RV1106_NV12, values);
    }
}

/* Scales the block's pixels of three channels to its columns, in `row`. */
static inline void rv1106_scale_colours(const rv1106_columns *block, uint8_t *row)
{
    const int32_t *weight = block->weights;
    int i, at;
    for (i = 0; i < block->count; i++, row += 3) {
        const uint8_t *pixel = block->pixels + 3 * block->firsts[i];
        int32_t red = 1 << 21, green = 1 << 21, blue = 1 << 21;
        for (at = block->counts[i]; at > 0; at--, pixel += 3) {
            const int32_t share = *weight++;
            red += share * pixel[0];
            green += share * pixel[1];
            blue += share * pixel[2];
        }
        row[0] = (uint8_t)rv1106_byte(red >> 22);
        row[1] = (uint8_t)rv1106_byte(green >> 22);
        row[2] = (uint8_t)rv1106_byte(blue >> 22);
    }
}

/* Scales the block's grey pixels to its columns, in `row`. */
static inline void rv1106_scale_grey(const rv1106_columns *block, uint8_t *row)
{
    const int32_t *weight = block->weights;
    int i, at;
    for (i = 0; i < block->count; i++) {
        const uint8_t *pixel = block->pixels + block->firsts[i];
        int32_t sum = 1 << 21;
        for (at = block->counts[i]; at > 0; at--) sum += *weight++ * *pixel++;
        row[i] = (uint8_t)rv1106_byte(sum >> 22);
    }
}

/* Returns row `y` of the image at the columns of the block, scaled if it is not kept yet. */
static inline const uint8_t *rv1106_scaled_row(rv1106_columns *block, const rv1106_image *image, int y)
{
    uint8_t *row = block->rows[y % RV1106_HELD];
    if (block->held[y % RV1106_HELD] == y) return row;
    block->held[y % RV1106_HELD] = y;
    rv1106_read_pixels(image, y, block->first, block->span, block->pixels);
    if (block->depth == 3) rv1106_scale_colours(block, row);
    else rv1106_scale_grey(block, row);
    return row;
}

/* Writes the columns of a block into row `at` of the input, whose pixels there begin at `out`. `window` is what the row
 * covers of the image. */
static inline void rv1106_write_cropped(const rv1106_input *input, const rv1106_image *image, rv1106_columns *block,
                                        const rv1106_window *window, uint8_t *out)
{
    int32_t sums[3 * RV1106_BLOCK];
    uint8_t values[3 * RV1106_BLOCK];
    const int count = block->count * block->depth;
    int i, at;
    for (i = 0; i < count; i++) sums[i] = 1 << 21;
    for (at = 0; at < window->count; at++) {
        const int32_t weight = rv1106_fixed_weight(window, at);
        const uint8_t *row = weight ? rv1106_scaled_row(block, image, window->first + at) : NULL;
        for (i = 0; row && i < count; i++) sums[i] += weight * row[i];
    }
    for (i = 0; i < count; i++) values[i] = (uint8_t)rv1106_byte(sums[i] >> 22);
    rv1106_write_row(input, values, block->count, block->depth, out);
}

/* Fills the input with the middle of an image; see rv1106_fill_input. Both arguments are valid. */
static inline int rv1106_crop(const rv1106_input *input, const rv1106_image *image, const rv1106_letterbox *fit)
{
    const size_t depth = input->channels == RV1106_GREY ? 1 : 3;
    rv1106_columns block;
    int sides[2], x, y, i;
    rv1106_covering(input->width, input->height, image->width, image->height, sides);
    if (fit->width != image->width || fit->height != image->height ||
        fit->left != -rv1106_half(sides[0] - input->width) || fit->top != -rv1106_half(sides[1] - input->height))
        return RV1106_BAD_SIZE;
    block.depth = image->format == RV1106_GREY ? 1 : 3;
    for (x = 0; x < input->width; x += block.count) {
        if (!rv1106_begin_columns(&block, x - fit->left, input->width - x, sides[0], image->width))
            return RV1106_BAD_SIZE;
        for (i = 0; i < RV1106_HELD; i++) block.held[i] = -1;
        for (y = 0; y < input->height; y++) {
            const rv1106_window window = rv1106_window_of(y - fit->top, sides[1], image->height);
            rv1106_write_cropped(input, image, &block, &window,
                                 input->pixels + (size_t)y * input->stride + depth * (size_t)x);
        }
    }
    return 0;
}

/* Returns 1 if the fields of an image are valid, otherwise 0. */
static inline int rv1106_is_image(const rv1106_image *image)
{
    const rv1106_format format = image->format;
    if ((int)format < RV1106_RGB || format > RV1106_YUYV || image->width < 1 || image->height < 1 ||
        image->width > RV1106_IMAGE_LIMIT || image->height > RV1106_IMAGE_LIMIT || !image->planes[0] ||
        image->strides[0] < rv1106_row_bytes(format, image->width))
        return 0;
    if (rv1106_has_chroma(format))
        return image->planes[1] && image->strides[1] >= (size_t)(image->width + 1) / 2 * 2;
    return format != RV1106_YUYV || image->width % 2 == 0;
}

/* Converts an image to a model's input: scales it, converts its colours and fills the area around it. All pixels of the
 * input are written; bytes after the width of a row are not.
 *   input  the destination, from rv1106_input_of or rv1106_detector_input
 *   image  the frame; width and height 1 to RV1106_IMAGE_LIMIT; only read
 *   fit    from rv1106_fit with the width and height of this image
 * Returns 0, RV1106_BAD_ARGUMENT, or RV1106_BAD_SIZE if `fit` does not belong to this image and this input, or if a
 * cropped image is more than 1100 times as large as the input. */
static inline int rv1106_fill_input(const rv1106_input *input, const rv1106_image *image, const rv1106_letterbox *fit)
{
    const int depth = input && input->channels == RV1106_GREY ? 1 : 3;
    rv1106_block block;
    int width, height, x, i;
    if (!input || !image || !fit || !input->pixels || (int)input->channels < RV1106_RGB ||
        input->channels > RV1106_GREY || input->fill < 0 || input->fill > 255 || input->width < 1 ||
        input->height < 1 || input->width > RV1106_SIDE_LIMIT || input->height > RV1106_SIDE_LIMIT ||
        input->stride < (size_t)depth * (size_t)input->width || !rv1106_is_image(image))
        return RV1106_BAD_ARGUMENT;
    if (input->place == RV1106_CROP) return rv1106_crop(input, image, fit);
    if (fit->width != image->width || fit->height != image->height || !(fit->scale > 0) ||
        !(fit->scale * fit->width < input->width + 1) || !(fit->scale_y * fit->height < input->height + 1) ||
        !(fit->scale_y > 0 || fit->scale * fit->height < input->height + 1))
        return RV1106_BAD_SIZE;
    width = rv1106_fitted(fit->width, fit->scale);
    height = rv1106_fitted(fit->height, fit->scale_y > 0 ? fit->scale_y : fit->scale);
    if (fit->left < 0 || fit->top < 0 || fit->left > input->width - width || fit->top > input->height - height)
        return RV1106_BAD_SIZE;
    rv1106_fill_border(input, fit->left, fit->top, width, height);
    block.depth = image->format == RV1106_GREY ? 1 : 3;
    for (x = 0; x < width; x += RV1106_BLOCK) {
        block.count = width - x < RV1106_BLOCK ? width - x : RV1106_BLOCK;
        for (i = 0; i < block.count; i++) block.taps[i] = rv1106_tap_of(x + i, width, image->width, 1);
        rv1106_write_block(input, image, &block, height,
                           input->pixels + (size_t)fit->top * input->stride + (size_t)(fit->left + x) * (size_t)depth);
    }
    return 0;
}

#endif

/* From a camera's image (RGB, BGR, grey, NV12, NV21, YUYV) to the padded input of a model, as it was trained to see it.
 *
 * C99 (and C++), no library, no allocation, no state; some 2 KB of stack. The bytes are those of the project's Python
 * (cv2.cvtColor to RGB, then cv2.resize INTER_LINEAR), so accuracy on the board is the one that was measured:
 *
 *   rv1106_image frame = {RV1106_NV12, 1920, 1080, {luma, chroma}, {1920, 1920}};
 *   rv1106_input input = rv1106_input_of(&RV1106_MODEL, memory, bytes_per_row);
 *   rv1106_letterbox fit = rv1106_fit(&RV1106_MODEL, frame.width, frame.height);
 *   status = rv1106_fill_input(&input, &frame, &fit);               `fit` also maps boxes back, in rv1106_decode
 *
 * Formulas, as OpenCV computes them in whole numbers:
 *   from     = (at + 0.5) * source side / fitted side - 0.5, cut at the edges; its fraction in 2048ths
 *   red      = (1220542 * max(Y - 16, 0) + 1673527 * (V - 128) + 2^19) >> 20, green and blue alike: ITU-R BT.601,
 *              Y from 16 to 235
 *   grey     = (9798 * red + 19235 * green + 3735 * blue + 2^14) >> 15
 */
#ifndef RV1106_LETTERBOX_H
#define RV1106_LETTERBOX_H

#include "decode.h"

/* An image: where its one or two planes begin, and how many bytes from one of their rows to the next. */
typedef struct {
    rv1106_format format;
    int width, height;
    const uint8_t *planes[2];
    size_t strides[2];
} rv1106_image;

/* A model's input: RV1106_RGB, RV1106_BGR or RV1106_GREY, the grey around the image (0 to 255), width and height, the
 * memory, and how many bytes from one of its rows to the next. */
typedef struct {
    rv1106_format channels;
    int fill, width, height;
    uint8_t *pixels;
    size_t stride;
} rv1106_input;

enum {
    RV1106_BLOCK = 64,         /* columns at a time: what is known of them fits into the stack and the cache */
    RV1106_IMAGE_LIMIT = 32767 /* of a side */
};

/* Where a column or row comes from: two neighbours in the source, and their weights in 2048ths. */
typedef struct {
    int first, second;
    int16_t weights[2];
} rv1106_tap;

/* Columns of the fitted image, `count` of them, and two rows of the source at these columns: the rows `held`, each
 * value times 128. */
typedef struct {
    rv1106_tap taps[RV1106_BLOCK];
    int count, depth, held[2];
    int16_t rows[2][3 * RV1106_BLOCK];
} rv1106_block;

/* A model's input in memory of yours. */
static inline rv1106_input rv1106_input_of(const rv1106_model *model, uint8_t *pixels, size_t stride)
{
    const rv1106_input input = {model->channels, model->fill, model->width, model->height, pixels, stride};
    return input;
}

static inline size_t rv1106_row_bytes(rv1106_format format, int width)
{
    switch (format) {
    case RV1106_RGB:
    case RV1106_BGR: return 3 * (size_t)width;
    case RV1106_YUYV: return 2 * (size_t)width;
    default: return (size_t)width;
    }
}

/* Whether a format has a second plane. */
static inline int rv1106_has_chroma(rv1106_format format)
{
    return format == RV1106_NV12 || format == RV1106_NV21;
}

/* Rounded to a whole number, halves to even. */
static inline int rv1106_round(double value)
{
    int whole = (int)value;
    double rest;
    if (value < whole) whole--;
    rest = value - whole;
    return rest > 0.5 || (rest == 0.5 && whole % 2) ? whole + 1 : whole;
}

/* Pixels that a side of the image takes in the input. */
static inline int rv1106_fitted(int side, double scale)
{
    const int fitted = rv1106_round(side * scale);
    return fitted > 1 ? fitted : 1;
}

/* Where pixel `at` of a side with `fitted` pixels comes from in one with `side`. OpenCV cuts columns at the edges
 * before it takes the fraction (`cut`), rows behind it. The position is rounded to float, as there. */
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

static inline int rv1106_byte(int value)
{
    return value < 0 ? 0 : value > 255 ? 255 : value;
}

/* What U and V add to a pixel's red, green and blue, in 2^-20ths; half a step for rounding is among it. */
static inline void rv1106_chroma(int u, int v, int parts[3])
{
    u -= 128;
    v -= 128;
    parts[0] = 1673527 * v + (1 << 19);
    parts[1] = -852492 * v - 409993 * u + (1 << 19);
    parts[2] = 2116026 * u + (1 << 19);
}

/* Red, green and blue of a pixel. */
static inline void rv1106_colour(int y, const int parts[3], int rgb[3])
{
    const int light = (y > 16 ? y - 16 : 0) * 1220542;
    int c;
    for (c = 0; c < 3; c++) rgb[c] = rv1106_byte((light + parts[c]) >> 20);
}

/* One value of a row between two of the source. */
static inline int16_t rv1106_between(const rv1106_tap *tap, int first, int second)
{
    return (int16_t)((first * tap->weights[0] + second * tap->weights[1]) >> 4);
}

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

static inline void rv1106_row_of_grey(rv1106_block *block, const uint8_t *line, int16_t *row)
{
    int i;
    for (i = 0; i < block->count; i++)
        row[i] = rv1106_between(&block->taps[i], line[block->taps[i].first], line[block->taps[i].second]);
}

/* Y of pixel x lies at `luma`[x * step]; U and V of pixels x and x + 1, x even, at `chroma`[x * step + u] and
 * [x * step + v]. Where whole pixels are taken, as at a third of the size, or both are of one pair, less is to do. */
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

/* Read row `y` of the image at the block's columns. */
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

/* Which of the block's two rows holds row `y` of the image; it is read in the place of one that is not `needed`. */
static inline int rv1106_hold(rv1106_block *block, const rv1106_image *image, int y, int needed)
{
    const int place = block->held[0] == y ? 0 : block->held[1] == y ? 1 : block->held[0] == needed;
    if (block->held[place] != y) rv1106_read_row(block, image, y, block->rows[place]);
    block->held[place] = y;
    return place;
}

/* Write the `count` pixels of a fitted row, `depth` values each in the order red, green, blue, as the model wants
 * them. */
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

/* Write the columns of a block, from `x` on, in all `height` rows of the fitted image, which begins at `origin`. */
static inline void rv1106_write_block(const rv1106_input *input, const rv1106_image *image, rv1106_block *block,
                                      int height, uint8_t *origin)
{
    uint8_t values[3 * RV1106_BLOCK];
    int y, i;
    block->held[0] = block->held[1] = -1;
    for (y = 0; y < height; y++) {
        const rv1106_tap tap = rv1106_tap_of(y, height, image->height, 0);
        const int16_t *first = block->rows[rv1106_hold(block, image, tap.first, tap.second)];
        const int16_t *second = first; /* of no weight where a row is taken as it is */
        if (tap.weights[1]) second = block->rows[rv1106_hold(block, image, tap.second, tap.first)];
        for (i = 0; i < block->count * block->depth; i++)
            values[i] =
                (uint8_t)((((first[i] * tap.weights[0]) >> 16) + ((second[i] * tap.weights[1]) >> 16) + 2) >> 2);
        rv1106_write_row(input, values, block->count, block->depth, origin + (size_t)y * input->stride);
    }
}

/* Fill all but the `width` x `height` pixels at `left`, `top`. */
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

/* Put an image into a model's input, as `fit` (rv1106_fit of its size) says; all bytes of the input's rows are written.
 * Returns 0, RV1106_BAD_ARGUMENT, or RV1106_BAD_SIZE where `fit` is not one of this image in an input of this size. */
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

/* Throws random images, inputs and fits at letterbox.h: ./letterbox_fuzz IMAGES SEED. Built with sanitizers by the
 * tests. Every buffer is exactly as long as it must be, so one byte read or written beyond it ends the program. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "letterbox.h"
#include "random.h"

/* Allocates a plane that ends directly after the last pixel of its last row. */
static uint8_t *plane_of(int rows, size_t bytes, size_t stride)
{
    const size_t size = (size_t)(rows - 1) * stride + bytes;
    uint8_t *plane = malloc(size);
    size_t i;
    for (i = 0; i < size; i++) plane[i] = (uint8_t)draw(256);
    return plane;
}

static double draw_scale(double scale)
{
    static const double odd[] = {0, -1, 1e-30, 1e30, NAN, INFINITY};
    return draw(2) ? scale * (0.5 + draw(1000) / 500.0) : odd[draw(6)];
}

int main(int argc, char **argv)
{
    const long images = argc > 1 ? atol(argv[1]) : 100000;
    long number, filled = 0, refused = 0;
    state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 1;
    for (number = 0; number < images; number++) {
        rv1106_image image;
        rv1106_input input;
        rv1106_model model;
        rv1106_letterbox fit;
        size_t row;
        int status;
        memset(&model, 0, sizeof model);
        memset(&image, 0, sizeof image);
        model.width = input.width = draw(4) ? 32 * (1 + (int)draw(3)) : 1 + (int)draw(200);
        model.height = input.height = draw(4) ? 32 * (1 + (int)draw(3)) : 1 + (int)draw(200);
        model.place = input.place = (rv1106_place)draw(4);
        if (draw(20) == 0) input.place = (rv1106_place)draw(4);
        input.channels = (rv1106_format)draw(3);
        input.fill = (int)draw(256);
        row = (input.channels == RV1106_GREY ? 1 : 3) * (size_t)input.width;
        input.stride = row + draw(4);
        input.pixels = plane_of(input.height, row, input.stride);
        image.format = (rv1106_format)draw(6);
        image.width = 1 + (int)draw(draw(2) ? 200 : 8);
        image.height = 1 + (int)draw(draw(2) ? 200 : 8);
        if (image.format == RV1106_YUYV) image.width += image.width % 2;
        row = rv1106_row_bytes(image.format, image.width);
        image.strides[0] = row + draw(4);
        image.planes[0] = plane_of(image.height, row, image.strides[0]);
        if (rv1106_has_chroma(image.format)) {
            row = (size_t)(image.width + 1) / 2 * 2;
            image.strides[1] = row + draw(4);
            image.planes[1] = plane_of((image.height + 1) / 2, row, image.strides[1]);
        }
        fit = rv1106_fit(&model, image.width, image.height);
        if (draw(4) == 0) switch (draw(6)) {
            case 0: fit.left += (int)draw(9) - 4; break;
            case 1: fit.top += (int)draw(9) - 4; break;
            case 2: fit.scale = draw_scale(fit.scale); break;
            case 3: fit.scale_y = draw_scale(fit.scale); break;
            case 4: fit.width += (int)draw(3) - 1; break;
            default: fit.left = draw(2) ? INT32_MAX : INT32_MIN;
            }
        status = rv1106_fill_input(&input, &image, &fit);
        filled += status == 0;
        refused += status != 0;
        free(input.pixels);
        free((void *)(uintptr_t)image.planes[0]);
        free((void *)(uintptr_t)image.planes[1]);
    }
    printf("%ld filled, %ld refused\n", filled, refused);
    return 0;
}

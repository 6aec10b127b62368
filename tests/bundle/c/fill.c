/* fill FORMAT WIDTH HEIGHT MODEL_WIDTH MODEL_HEIGHT PLACE [ROUNDS] < IMAGE > INPUT: letterbox.h on one image without
 * gaps between its rows; with ROUNDS that many times, and nothing is written (to count instructions). */
#include <stdio.h>
#include <stdlib.h>

#include "letterbox.h"

int main(int argc, char **argv)
{
    static uint8_t bytes[3 * 4096 * 2304], pixels[3 * 1280 * 1280];
    rv1106_model model;
    rv1106_image image;
    rv1106_input input;
    rv1106_letterbox fit;
    int numbers[6], i, status = 0, rounds = argc > 7 ? atoi(argv[7]) : 0;
    if (argc < 7) return 2;
    for (i = 0; i < 6; i++) numbers[i] = atoi(argv[i + 1]);
    if (!fread(bytes, 1, sizeof bytes, stdin)) return 2;
    memset(&model, 0, sizeof model);
    model.width = input.width = numbers[3];
    model.height = input.height = numbers[4];
    model.place = input.place = (rv1106_place)numbers[5];
    input.channels = RV1106_RGB;
    input.fill = 114;
    input.pixels = pixels;
    input.stride = 3 * (size_t)input.width;
    image.format = (rv1106_format)numbers[0];
    image.width = numbers[1];
    image.height = numbers[2];
    image.planes[0] = bytes;
    image.strides[0] = rv1106_row_bytes(image.format, image.width);
    image.planes[1] = bytes + image.strides[0] * (size_t)image.height;
    image.strides[1] = (size_t)(image.width + 1) / 2 * 2;
    fit = rv1106_fit(&model, image.width, image.height);
    for (i = 0; i < (rounds ? rounds : 1); i++) status = rv1106_fill_input(&input, &image, &fit);
    if (!rounds) fwrite(pixels, input.stride, (size_t)input.height, stdout);
    return status ? 2 : 0;
}

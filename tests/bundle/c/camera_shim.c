/* What a camera program needs besides the decoder, as a library for the tests to call. */
#include "letterbox.h"

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

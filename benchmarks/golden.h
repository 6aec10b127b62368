/* What the programs that time a bundle's decoder share: a clock, a median, and the bundle's golden outputs. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "model.h"

static int8_t memory[RV1106_MODEL_BYTES];

/* Microseconds. */
static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

/* Read the outputs in `folder` into `memory`; 0, or 2 after a sentence on what cannot be read. */
static int read_outputs(const char *folder, const int8_t *buffers[], size_t sizes[])
{
    size_t used = 0;
    int i;
    for (i = 0; i < RV1106_MODEL.output_count; i++) {
        char path[1024];
        FILE *file;
        snprintf(path, sizeof path, "%s/output_%d.bin", folder, i);
        if (!(file = fopen(path, "rb"))) return fprintf(stderr, "%s cannot be read\n", path), 2;
        buffers[i] = memory + used;
        used += sizes[i] = fread(memory + used, 1, rv1106_size(&RV1106_MODEL.outputs[i]), file);
        fclose(file);
    }
    return 0;
}

#endif

/* Random numbers of the fuzzing programs, the same on every machine for a seed. */
#ifndef RANDOM_H
#define RANDOM_H

#include <stdint.h>

static uint64_t state;

static uint32_t draw(uint32_t below) /* xorshift64*, https://doi.org/10.18637/jss.v008.i14 */
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 2685821657736338717u) >> 32) % below;
}

#endif

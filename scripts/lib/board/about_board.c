/* Prints the line of `detect --version`: for a board for which no model was made yet. */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64 /* otherwise readdir fails on some file systems */
#include "about_board.h"

int main(void)
{
    about_board(stdout);
    return ferror(stdout) || fclose(stdout) ? 7 : 0;
}

/* Prints what a board says of itself, as `detect --version` does: for a board that no model was made for yet. */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64 /* else folders of some file systems cannot be listed */
#include "about_board.h"

int main(void)
{
    about_board(stdout);
    return ferror(stdout) || fclose(stdout) ? 7 : 0;
}

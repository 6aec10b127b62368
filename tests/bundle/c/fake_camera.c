/* A simulated V4L2 camera for camera.c, linked with --wrap for open, ioctl, mmap, munmap and close. It gives the frames
 * in the file $CAMERA_FRAMES, with 32 bytes of padding per row, and fails after the last one. With $CAMERA_PLANAR it
 * has the multi-planar API, as Rockchip's ISP. With $CAMERA_DAMAGED=N it gives N damaged frames before every fifth frame,
 * from the first on. Buffers that the driver owns are filled with bytes that no frame has. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

enum { DESCRIPTOR = 777, COUNT = 3, GAP = 32 };

int __wrap_open(const char *path, int flags, ...);
int __wrap_ioctl(int descriptor, unsigned long request, ...);
void *__wrap_mmap(void *at, size_t length, int protection, int flags, int descriptor, off_t offset);
int __wrap_munmap(void *memory, size_t length);
int __wrap_close(int descriptor);

static FILE *frames;
static unsigned char *memory[COUNT];
static int queued[COUNT], queue_length, streams, mapped, width, height, rows, taken, damaged;

int __wrap_open(const char *path, int flags, ...)
{
    (void)path;
    (void)flags;
    frames = fopen(getenv("CAMERA_FRAMES"), "rb");
    return frames ? DESCRIPTOR : -1;
}

static int is_planar(void)
{
    return getenv("CAMERA_PLANAR") != NULL;
}

static size_t frame_size(void)
{
    return (size_t)(width + GAP) * (size_t)rows;
}

static int set_format(struct v4l2_format *form)
{
    if (is_planar() != (form->type == V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE)) return EINVAL;
    width = (int)(is_planar() ? form->fmt.pix_mp.width : form->fmt.pix.width);
    height = (int)(is_planar() ? form->fmt.pix_mp.height : form->fmt.pix.height);
    rows = height * 3 / 2; /* only NV12 */
    if (is_planar()) {
        form->fmt.pix_mp.plane_fmt[0].bytesperline = (unsigned)(width + GAP);
        form->fmt.pix_mp.pixelformat = V4L2_PIX_FMT_NV12;
    } else {
        form->fmt.pix.bytesperline = (unsigned)(width + GAP);
        form->fmt.pix.pixelformat = V4L2_PIX_FMT_NV12;
    }
    return 0;
}

static int damaged_frames(void)
{
    const char *text = getenv("CAMERA_DAMAGED");
    return text ? atoi(text) : 0;
}

static int take(struct v4l2_buffer *buffer)
{
    int row, i;
    unsigned char *filled;
    if (!streams || !queue_length) return EINVAL;
    buffer->index = (unsigned)queued[0];
    filled = memory[queued[0]];
    for (i = 1; i < queue_length; i++) queued[i - 1] = queued[i];
    queue_length--;
    buffer->flags = 0;
    if (taken % 5 == 0 && damaged < damaged_frames()) {
        damaged++;
        buffer->flags = V4L2_BUF_FLAG_ERROR;
        return 0;
    }
    damaged = 0;
    taken++;
    for (row = 0; row < rows; row++)
        if (fread(filled + (size_t)row * (size_t)(width + GAP), 1, (size_t)width, frames) != (size_t)width) return EIO;
    return 0;
}

static int answer(unsigned long request, void *argument)
{
    struct v4l2_buffer *buffer = argument;
    switch (request) {
    case VIDIOC_QUERYCAP:
        ((struct v4l2_capability *)argument)->capabilities =
            V4L2_CAP_STREAMING | (is_planar() ? V4L2_CAP_VIDEO_CAPTURE_MPLANE : V4L2_CAP_VIDEO_CAPTURE);
        return 0;
    case VIDIOC_S_FMT: return set_format(argument);
    case VIDIOC_REQBUFS: ((struct v4l2_requestbuffers *)argument)->count = COUNT; return 0;
    case VIDIOC_QUERYBUF:
        if (is_planar()) {
            buffer->m.planes[0].length = (unsigned)frame_size();
            buffer->m.planes[0].m.mem_offset = buffer->index * 4096;
        } else {
            buffer->length = (unsigned)frame_size();
            buffer->m.offset = buffer->index * 4096;
        }
        return 0;
    case VIDIOC_QBUF:
        if (queue_length == COUNT || (is_planar() && (!buffer->m.planes || buffer->length < 1))) return EINVAL;
        memset(memory[buffer->index], 0x5a, frame_size());
        queued[queue_length++] = (int)buffer->index;
        return 0;
    case VIDIOC_STREAMON: streams = 1; return 0;
    case VIDIOC_STREAMOFF: streams = 0; return 0;
    case VIDIOC_DQBUF: return take(buffer);
    default: return ENOTTY;
    }
}

int __wrap_ioctl(int descriptor, unsigned long request, ...)
{
    va_list words;
    void *argument;
    va_start(words, request);
    argument = va_arg(words, void *);
    va_end(words);
    errno = descriptor == DESCRIPTOR ? answer(request, argument) : EBADF;
    return errno ? -1 : 0;
}

void *__wrap_mmap(void *at, size_t length, int protection, int flags, int descriptor, off_t offset)
{
    (void)at;
    (void)protection;
    (void)flags;
    if (descriptor != DESCRIPTOR) abort();
    mapped++;
    return memory[offset / 4096] = malloc(length);
}

int __wrap_munmap(void *unmapped, size_t length)
{
    (void)length;
    free(unmapped);
    mapped--;
    return 0;
}

int __wrap_close(int descriptor)
{
    if (descriptor != DESCRIPTOR || mapped || streams) abort();
    return fclose(frames);
}

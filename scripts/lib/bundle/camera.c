/* Example program for cameras: runs model.rknn on frames, tracks the detected objects, and prints one line of JSON per
 * frame. Copy the parts that your program needs.
 *
 *   camera [OPTIONS] MODEL.rknn /dev/videoN      a V4L2 camera: single-planar API, or multi-planar as of Rockchip's ISP
 *   camera [OPTIONS] MODEL.rknn FRAMES           a file of raw frames, one after the other; - is standard input
 *
 *   --size WxH         size of a frame in pixels; default: 640x480
 *   --format NAME      pixel format: nv12, nv21, yuyv, rgb, bgr or grey; default: nv12
 *   --confidence X     score from which objects are tracked; default: as in model.h
 *   --frames N         stop after N frames
 *   --annotated FILE   also write the frames, in their own raw format, with boxes and names drawn into them, and with
 *                      keypoints, masks or rotated boxes if the model has them; not for yuyv
 *
 * Lines on standard output. Error messages and the runtime's own output go to standard error.
 *   {"frame": 0, "fit_us": 9000, "run_us": 26000, "decode_us": 800, "track_us": 90, "objects": [[number, class, score,
 *    x1, y1, x2, y2], ...]}                      `number` is the track number; a list of the task's values follows y2
 *   {"frames": 64, "skipped": 0}                 the last line; `skipped`: damaged frames, as the driver says
 * Times are in microseconds, boxes in pixels of the frame. For a classifier, the objects are its best classes with a
 * score (probability) of at least X, their numbers are their ranks, and the box is the part of the frame in the input;
 * the best one is drawn. Exit status: 0, 1 on error, 2 for invalid arguments.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "detector.h"
#include "draw.h"
#include "model.h"
#include "track.h"

enum { CANDIDATES = 3000, BUFFERS = 4, MOST_DAMAGED = 100, USAGE = 2 };

/* The source of frames: a file, or a camera, whose driver fills a ring of buffers. */
typedef struct {
    FILE *file;
    int camera, is_planar, buffer; /* `camera`: file descriptor, -1 for a file; `buffer`: of the last frame */
    int failed;                    /* not 0 if there are no more frames because of an error */
    long skipped;                  /* damaged frames */
    rv1106_format format;
    int width, height;
    size_t stride, size; /* bytes of a row (same for both planes) and of a frame */
    uint8_t *memory[BUFFERS];
    size_t lengths[BUFFERS];
} frame_source;

typedef struct {
    const char *annotated;
    float confidence;
    long frames;
} options;

static const char *const FORMATS[] = {"rgb", "bgr", "grey", "nv12", "nv21", "yuyv"}; /* order of rv1106_format */
static const uint32_t FOURCCS[] = {V4L2_PIX_FMT_RGB24, V4L2_PIX_FMT_BGR24, V4L2_PIX_FMT_GREY,
                                   V4L2_PIX_FMT_NV12,  V4L2_PIX_FMT_NV21,  V4L2_PIX_FMT_YUYV};

static rv1106_detector detector;
static rv1106_tracker tracker;
static rv1106_candidate candidates[CANDIDATES];
static rv1106_detection detections[RV1106_MODEL_MOST];
static int numbers[RV1106_MODEL_MOST];
static FILE *results;
static volatile sig_atomic_t stopped;

/* Signal handler: ends the loop over the frames. */
static void stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

/* Prints the error `why` about `what` to standard error. Returns -1. */
static int wrong(const char *what, const char *why)
{
    fprintf(stderr, "camera: %s: %s\n", what, why);
    return -1;
}

static long long now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Calls ioctl, again if a signal interrupted it that does not end the program. */
static int control(int camera, unsigned long request, void *argument)
{
    int status;
    do status = ioctl(camera, request, argument);
    while (status < 0 && errno == EINTR && !stopped);
    return status;
}

/* Prepares the V4L2 structure for the buffer number source->buffer. */
static void describe(const frame_source *source, struct v4l2_buffer *buffer, struct v4l2_plane planes[VIDEO_MAX_PLANES])
{
    memset(buffer, 0, sizeof *buffer);
    memset(planes, 0, VIDEO_MAX_PLANES * sizeof *planes);
    buffer->type = source->is_planar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE;
    buffer->memory = V4L2_MEMORY_MMAP;
    buffer->index = (uint32_t)source->buffer;
    if (source->is_planar) {
        buffer->m.planes = planes;
        buffer->length = VIDEO_MAX_PLANES;
    }
}

/* Sets the frame format of the camera, and gets the size and stride that its driver chose. Returns 0 or -1. */
static int set_format(frame_source *source, const char *name)
{
    struct v4l2_capability can;
    struct v4l2_format form;
    uint32_t able;
    memset(&can, 0, sizeof can);
    if (control(source->camera, VIDIOC_QUERYCAP, &can) < 0) return wrong(name, "not a V4L2 device");
    able = can.capabilities & V4L2_CAP_DEVICE_CAPS ? can.device_caps : can.capabilities;
    source->is_planar = !(able & V4L2_CAP_VIDEO_CAPTURE);
    if (!(able & (V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_VIDEO_CAPTURE_MPLANE)) || !(able & V4L2_CAP_STREAMING))
        return wrong(name, "does not capture frames; try another /dev/videoN");
    memset(&form, 0, sizeof form);
    form.type = source->is_planar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE;
    if (source->is_planar) {
        form.fmt.pix_mp.width = (uint32_t)source->width;
        form.fmt.pix_mp.height = (uint32_t)source->height;
        form.fmt.pix_mp.pixelformat = FOURCCS[source->format];
        form.fmt.pix_mp.num_planes = 1;
    } else {
        form.fmt.pix.width = (uint32_t)source->width;
        form.fmt.pix.height = (uint32_t)source->height;
        form.fmt.pix.pixelformat = FOURCCS[source->format];
    }
    if (control(source->camera, VIDIOC_S_FMT, &form) < 0) return wrong(name, strerror(errno));
    if ((source->is_planar ? form.fmt.pix_mp.pixelformat : form.fmt.pix.pixelformat) != FOURCCS[source->format])
        return wrong(name, "does not support the pixel format of --format");
    if (source->is_planar && form.fmt.pix_mp.num_planes != 1)
        return wrong(name, "has frames in several memory areas, which is not supported");
    source->width = (int)(source->is_planar ? form.fmt.pix_mp.width : form.fmt.pix.width);
    source->height = (int)(source->is_planar ? form.fmt.pix_mp.height : form.fmt.pix.height);
    source->stride = source->is_planar ? form.fmt.pix_mp.plane_fmt[0].bytesperline : form.fmt.pix.bytesperline;
    return 0;
}

/* Opens a camera, maps its buffers and starts it. Returns 0 or -1. */
static int open_camera(frame_source *source, const char *name)
{
    struct v4l2_requestbuffers wanted;
    struct v4l2_buffer buffer;
    struct v4l2_plane planes[VIDEO_MAX_PLANES];
    int type;
    if ((source->camera = open(name, O_RDWR)) < 0) return wrong(name, strerror(errno));
    if (set_format(source, name)) return -1;
    memset(&wanted, 0, sizeof wanted);
    wanted.count = BUFFERS;
    type = source->is_planar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE;
    wanted.type = (uint32_t)type;
    wanted.memory = V4L2_MEMORY_MMAP;
    if (control(source->camera, VIDIOC_REQBUFS, &wanted) < 0) return wrong(name, strerror(errno));
    for (source->buffer = 0; source->buffer < BUFFERS && source->buffer < (int)wanted.count; source->buffer++) {
        const int i = source->buffer;
        void *memory;
        describe(source, &buffer, planes);
        if (control(source->camera, VIDIOC_QUERYBUF, &buffer) < 0) return wrong(name, strerror(errno));
        source->lengths[i] = source->is_planar ? planes[0].length : buffer.length;
        memory = mmap(NULL, source->lengths[i], PROT_READ | PROT_WRITE, MAP_SHARED, source->camera,
                      (off_t)(source->is_planar ? planes[0].m.mem_offset : buffer.m.offset));
        if (memory == MAP_FAILED) return wrong(name, strerror(errno));
        source->memory[i] = memory;
        if (control(source->camera, VIDIOC_QBUF, &buffer) < 0) return wrong(name, strerror(errno));
    }
    return control(source->camera, VIDIOC_STREAMON, &type) < 0 ? wrong(name, strerror(errno)) : 0;
}

/* Opens a file of frames. Returns 0 or -1. */
static int open_file(frame_source *source, const char *name)
{
    source->camera = -1;
    if (!(source->file = strcmp(name, "-") ? fopen(name, "rb") : stdin)) return wrong(name, strerror(errno));
    return 0;
}

/* Opens a camera or a file of frames. Returns 0 or -1. */
static int open_source(frame_source *source, const char *name)
{
    const int chroma = rv1106_has_chroma(source->format);
    if (strncmp(name, "/dev/video", 10) ? open_file(source, name) : open_camera(source, name)) return -1;
    if (!source->stride)
        source->stride = rv1106_row_bytes(source->format, source->width + (chroma && source->width % 2));
    source->size = source->stride * (size_t)(source->height + (chroma ? (source->height + 1) / 2 : 0));
    if (source->camera >= 0) {
        if (source->lengths[0] >= source->size) return 0;
        return wrong(name, "the driver's buffers are smaller than a frame");
    }
    if (!(source->memory[0] = malloc(source->size))) return wrong(name, "out of memory for a frame");
    return 0;
}

/* Gives the buffer number source->buffer to the driver, to be filled. Returns 0 or -1. */
static int enqueue(const frame_source *source)
{
    struct v4l2_buffer buffer;
    struct v4l2_plane planes[VIDEO_MAX_PLANES];
    describe(source, &buffer, planes);
    return control(source->camera, VIDIOC_QBUF, &buffer) < 0 && !stopped ? wrong("camera", strerror(errno)) : 0;
}

/* Gets the next frame of a camera that is not damaged, and sets source->buffer. Returns 0, or -1 if there is none. */
static int dequeue(frame_source *source)
{
    struct v4l2_buffer buffer;
    struct v4l2_plane planes[VIDEO_MAX_PLANES];
    int damaged;
    for (damaged = 0; damaged < MOST_DAMAGED && !stopped; damaged++, source->skipped++) {
        describe(source, &buffer, planes);
        if (control(source->camera, VIDIOC_DQBUF, &buffer) < 0) return stopped ? -1 : wrong("camera", strerror(errno));
        source->buffer = (int)buffer.index;
        if (!(buffer.flags & V4L2_BUF_FLAG_ERROR)) return 0;
        if (!source->skipped) wrong("camera", "its driver marked a frame as damaged; such frames are skipped");
        if (enqueue(source)) return -1;
    }
    return stopped ? -1 : wrong("camera", "too many damaged frames one after the other; check its cable and its mode");
}

/* Returns the memory of the next frame, or NULL if there is none. It is valid until release_frame. */
static uint8_t *next_frame(frame_source *source)
{
    if (source->camera < 0) {
        const size_t got = fread(source->memory[0], 1, source->size, source->file);
        if (got == source->size) return source->memory[0];
        if (got) source->failed = wrong("frames", "the last one is incomplete");
        return NULL;
    }
    if (!dequeue(source)) return source->memory[source->buffer];
    if (!stopped) source->failed = -1;
    return NULL;
}

/* Returns the buffer of the last frame to the camera. Returns 0 or -1. */
static int release_frame(const frame_source *source)
{
    return source->camera < 0 ? 0 : enqueue(source);
}

/* Stops and closes the source. */
static void close_source(frame_source *source)
{
    int i, type = source->is_planar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE;
    if (source->camera < 0) {
        free(source->memory[0]);
        if (source->file && source->file != stdin) fclose(source->file);
        return;
    }
    ioctl(source->camera, VIDIOC_STREAMOFF, &type);
    for (i = 0; i < BUFFERS; i++)
        if (source->memory[i]) munmap(source->memory[i], source->lengths[i]);
    close(source->camera);
}

static void print_value(void *to, double value, int decimals)
{
    int *printed = to;
    fprintf(results, decimals ? "%s%.9g" : "%s%.0f", (*printed)++ ? ", " : "", value);
}

/* Prints the objects that have a track number. */
static void print_objects(int count, const rv1106_letterbox *fit)
{
    int i, printed = 0, values;
    for (i = 0; i < count; i++) {
        const rv1106_detection *object = &detections[i];
        if (!numbers[i]) continue;
        fprintf(results, "%s[%d, %d, %.4f, %.1f, %.1f, %.1f, %.1f", printed++ ? ", " : "", numbers[i], object->class_id,
                (double)object->score, (double)object->x1, (double)object->y1, (double)object->x2, (double)object->y2);
        if (RV1106_MODEL.task) {
            const rv1106_sink sink = {print_value, &values};
            values = 0;
            fputs(", [", results);
            RV1106_MODEL.task->values(&detector.decoder, detector.buffers, fit, object, &sink);
            fputc(']', results);
        }
        fputc(']', results);
    }
}

/* Draws an object's box and its keypoints, mask or rotated box. model.h includes the header of the task. */
static void draw_object(const rv1106_canvas *canvas, const rv1106_letterbox *fit, const rv1106_detection *object,
                        int number)
{
    const char *name = RV1106_MODEL_NAMES[object->class_id];
#if defined RV1106_POSE_H
    rv1106_keypoint points[64];
    const int count = rv1106_keypoints(&detector.decoder, detector.buffers, fit, object, points, 64);
    int i;
    rv1106_draw_detection(canvas, object, name, number);
    for (i = 0; i < count && i < 64; i++)
        if (points[i].visibility > 0.5f)
            rv1106_draw_point(canvas, points[i].x, points[i].y, 4 * rv1106_draw_size(canvas),
                              rv1106_paint_for(object, number));
#elif defined RV1106_SEGMENT_H
    static uint8_t *mask; /* of one object, but as large as a frame; allocated once */
    const rv1106_area area = rv1106_mask_area(fit, object);
    rv1106_draw_detection(canvas, object, name, number);
    if (!mask) mask = malloc((size_t)fit->width * (size_t)fit->height);
    if (mask && rv1106_mask(&detector.decoder, detector.buffers, fit, object, mask, (size_t)area.width) > 0)
        rv1106_draw_mask(canvas, mask, (size_t)area.width, area.x, area.y, area.width, area.height,
                         rv1106_paint_for(object, number));
#elif defined RV1106_OBB_H
    rv1106_rotated box;
    double cosine, sine;
    float corners[8];
    int i;
    if (rv1106_rotated_box(&detector.decoder, detector.buffers, fit, object, &box)) return;
    rv1106_cos_sin(box.angle, &cosine, &sine);
    for (i = 0; i < 4; i++) {
        const double across = (i == 0 || i == 3 ? -0.5 : 0.5) * box.width, down = (i < 2 ? -0.5 : 0.5) * box.height;
        corners[2 * i] = (float)(box.cx + across * cosine - down * sine);
        corners[2 * i + 1] = (float)(box.cy + across * sine + down * cosine);
    }
    rv1106_draw_label(canvas, object, name, number);
    rv1106_draw_outline(canvas, corners, 4, 2 * rv1106_draw_size(canvas), rv1106_paint_for(object, number));
#elif defined RV1106_CLASSIFY_H
    (void)fit;
    if (number == 1) rv1106_draw_label(canvas, object, name, 0);
#else
    (void)fit;
    rv1106_draw_detection(canvas, object, name, number);
#endif
}

/* Draws the objects that have a track number into the frame, and writes the frame. Returns 0 or -1. */
static int write_annotated(const frame_source *source, uint8_t *memory, const rv1106_letterbox *fit, int count,
                           FILE *file)
{
    const rv1106_canvas canvas = {source->format, source->width, source->height,
                                  {memory, memory + source->stride * (size_t)source->height},
                                  {source->stride, source->stride}};
    int i;
    for (i = 0; i < count; i++)
        if (numbers[i]) draw_object(&canvas, fit, &detections[i], numbers[i]);
    return fwrite(memory, 1, source->size, file) == source->size ? 0 : wrong("annotated frames", strerror(errno));
}

/* Gives each detection a number: that of its track, or 0; to a class of a classifier, its rank. */
static void number_detections(int count)
{
#if defined RV1106_CLASSIFY_H
    int i;
    for (i = 0; i < count; i++) numbers[i] = i + 1;
#else
    rv1106_track_detections(&tracker, detections, count, numbers);
#endif
}

/* Processes one frame: letterbox, run, decode, track, print. Returns 0 or -1. */
static int process(const frame_source *source, uint8_t *memory, long frame, FILE *annotated)
{
    const rv1106_image image = {source->format, source->width, source->height,
                                {memory, memory + source->stride * (size_t)source->height},
                                {source->stride, source->stride}};
    const rv1106_letterbox fit = rv1106_fit(&RV1106_MODEL, image.width, image.height);
    const rv1106_input input = rv1106_detector_input(&detector);
    long long fitted, ran, decoded, tracked;
    const long long start = now_us();
    int count;
    if (rv1106_fill_input(&input, &image, &fit)) return wrong("frame", "unsupported size or format");
    fitted = now_us();
    if (rv1106_run(&detector)) return wrong("model", detector.error);
    ran = now_us();
    count = rv1106_detections(&detector, tracker.options.low, RV1106_MODEL_IOU, &fit, candidates, CANDIDATES,
                              detections, RV1106_MODEL_MOST);
    if (count < 0) return wrong("model", detector.error);
    decoded = now_us();
    number_detections(count);
    tracked = now_us();
    fprintf(results, "{\"frame\": %ld, \"fit_us\": %lld, \"run_us\": %lld, \"decode_us\": %lld, \"track_us\": %lld, ",
            frame, fitted - start, detector.run_us, decoded - ran, tracked - decoded);
    fputs("\"objects\": [", results);
    print_objects(count, &fit);
    fputs("]}\n", results);
    if (fflush(results)) return wrong("results", strerror(errno));
    return annotated ? write_annotated(source, memory, &fit, count, annotated) : 0;
}

/* Reads the options. Returns the index of the first argument after them, or -1. */
static int read_options(int argc, char **argv, options *wanted, frame_source *source)
{
    int at = 1, i;
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        const char *name = argv[at], *value = argv[at + 1];
        char *end = NULL, rest;
        int good = 0;
        if (!strcmp(name, "--size"))
            good = sscanf(value, "%dx%d%c", &source->width, &source->height, &rest) == 2 && source->width > 0 &&
                   source->height > 0 && source->width <= RV1106_IMAGE_LIMIT && source->height <= RV1106_IMAGE_LIMIT;
        else if (!strcmp(name, "--format")) {
            for (i = 0; i < 6; i++)
                if (!strcmp(value, FORMATS[i])) source->format = (rv1106_format)i, good = 1;
        } else if (!strcmp(name, "--confidence"))
            good = (wanted->confidence = strtof(value, &end)) >= 0 && end != value && !*end;
        else if (!strcmp(name, "--frames")) good = (wanted->frames = strtol(value, &end, 10)) > 0 && !*end;
        else if (!strcmp(name, "--annotated")) good = *(wanted->annotated = value) != '\0';
        if (!good) return wrong(name, "invalid option or value; see the comment at the top of camera.c");
    }
    if (at + 2 != argc)
        return wrong("arguments", "MODEL.rknn and a camera are needed; see the comment at the top of camera.c");
    if (source->format == RV1106_YUYV && (wanted->annotated || source->width % 2))
        return wrong("yuyv", wanted->annotated ? "--annotated does not support it" : "the width must be even");
    return at;
}

/* Reserves standard output for the results, because the runtime also prints to it. Returns 0 or -1. */
static int open_results(void)
{
    const int kept = dup(STDOUT_FILENO);
    if (kept < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0 || !(results = fdopen(kept, "w")))
        return wrong("standard output", strerror(errno));
    return 0;
}

/* Tracks start at the score `confidence` and continue at lower scores. Classes are not tracked. */
static void start_tracking(float confidence)
{
    rv1106_tracking tracking = rv1106_usual_tracking();
    tracking.high = tracking.start = confidence;
    if (tracking.low > confidence || RV1106_MODEL.head == RV1106_AS_IS) tracking.low = confidence;
    rv1106_start_tracking(&tracker, &tracking);
}

int main(int argc, char **argv)
{
    options wanted = {NULL, RV1106_MODEL_CONFIDENCE, 0};
    frame_source source = {0};
    struct sigaction action;
    FILE *annotated = NULL;
    uint8_t *memory;
    long frame = 0;
    int at, status = 0;
    source.format = RV1106_NV12;
    source.width = 640;
    source.height = 480;
    source.camera = -1;
    if ((at = read_options(argc, argv, &wanted, &source)) < 0) return USAGE;
    memset(&action, 0, sizeof action);
    action.sa_handler = stop; /* without SA_RESTART, so that the signal interrupts waiting for a frame */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (open_results()) return 1;
    if (rv1106_open(&detector, argv[at], &RV1106_MODEL)) return wrong(argv[at], detector.error), 1;
    start_tracking(wanted.confidence);
    status = open_source(&source, argv[at + 1]);
    if (!status && wanted.annotated && !(annotated = fopen(wanted.annotated, "wb")))
        status = wrong(wanted.annotated, strerror(errno));
    while (!status && !stopped && (!wanted.frames || frame < wanted.frames) && (memory = next_frame(&source))) {
        status = process(&source, memory, frame++, annotated);
        if (release_frame(&source)) status = -1;
    }
    if (source.failed) status = source.failed;
    if (annotated && fclose(annotated)) status = wrong(wanted.annotated, strerror(errno));
    close_source(&source);
    rv1106_close(&detector);
    if (!status) fprintf(results, "{\"frames\": %ld, \"skipped\": %ld}\n", frame, source.skipped);
    return fclose(results) || status ? 1 : 0;
}

/* libjpeg and libpng behind one call that knows a file by its first bytes. */
#include "data/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>
#include <png.h>

#include "base/base.h"

enum { MAX_SIDE = 32768 };

void ddp_image_finish(struct ddp_image *image)
{
    free(image->p);
    image->p = NULL;
}

/* ---- JPEG ------------------------------------------------------------------------------------ */

struct jpeg_trap {
    struct jpeg_error_mgr mgr; /* first: libjpeg hands it back by this address */
    jmp_buf out;
    char text[JMSG_LENGTH_MAX];
};

static void jpeg_trap_exit(j_common_ptr cinfo)
{
    struct jpeg_trap *trap = (struct jpeg_trap *)(void *)cinfo->err;
    trap->mgr.format_message(cinfo, trap->text);
    longjmp(trap->out, 1);
}

/* A warning is a damaged or cut-off file that libjpeg would fill with gray. Bytes between markers harm
 * nothing. */
static void jpeg_trap_message(j_common_ptr cinfo, int level)
{
    if (level < 0 && cinfo->err->msg_code != JWRN_EXTRANEOUS_DATA)
        jpeg_trap_exit(cinfo);
}

static int decode_jpeg(const char *path, const uint8_t *data, size_t bytes, int channels,
                       struct ddp_image *out, struct ddp_error *err)
{
    struct jpeg_decompress_struct jpeg;
    struct jpeg_trap trap;
    uint8_t *volatile row = NULL, *volatile planes = NULL;
    memset(&jpeg, 0, sizeof jpeg);
    jpeg.err = jpeg_std_error(&trap.mgr);
    trap.mgr.error_exit = jpeg_trap_exit;
    trap.mgr.emit_message = jpeg_trap_message;
    if (setjmp(trap.out)) {
        jpeg_destroy_decompress(&jpeg);
        free(row);
        free(planes);
        return ddp_fail(err, DDP_E_DATA, "%s does not decode: %s", path, trap.text);
    }
    jpeg_create_decompress(&jpeg);
    jpeg_mem_src(&jpeg, (unsigned char *)(uintptr_t)data, (unsigned long)bytes);
    jpeg_read_header(&jpeg, TRUE);
    int c = channels ? channels : jpeg.num_components == 1 ? 1 : 3;
    if (jpeg.num_components == 4 || jpeg.image_width > MAX_SIDE || jpeg.image_height > MAX_SIDE) {
        int rc = jpeg.num_components == 4
                     ? ddp_fail(err, DDP_E_DATA, "%s is a CMYK picture; convert it to RGB or gray", path)
                     : ddp_fail(err, DDP_E_DATA, "%s has %u x %u pixels; at most %d a side are allowed", path,
                                (unsigned)jpeg.image_width, (unsigned)jpeg.image_height, MAX_SIDE);
        jpeg_destroy_decompress(&jpeg);
        return rc;
    }
    jpeg.out_color_space = c == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg.dct_method = JDCT_ISLOW;
    jpeg_start_decompress(&jpeg);
    int h = (int)jpeg.output_height, w = (int)jpeg.output_width;
    size_t plane = (size_t)h * (size_t)w;
    row = ddp_malloc((size_t)w * (size_t)c);
    planes = ddp_malloc(plane * (size_t)c);
    for (int y = 0; y < h; y++) {
        JSAMPROW rows[1] = {row};
        jpeg_read_scanlines(&jpeg, rows, 1);
        for (int x = 0; x < w; x++)
            for (int k = 0; k < c; k++)
                planes[(size_t)k * plane + (size_t)y * (size_t)w + (size_t)x] = row[x * c + k];
    }
    jpeg_finish_decompress(&jpeg);
    jpeg_destroy_decompress(&jpeg);
    free(row);
    *out = (struct ddp_image){c, h, w, planes};
    return 0;
}

/* ---- PNG ------------------------------------------------------------------------------------- */

static int decode_png(const char *path, const uint8_t *data, size_t bytes, int channels,
                      struct ddp_image *out, struct ddp_error *err)
{
    png_image png;
    memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_memory(&png, data, bytes))
        return ddp_fail(err, DDP_E_DATA, "%s does not decode: %s", path, png.message);
    bool colour = png.format & PNG_FORMAT_FLAG_COLOR;
    if (png.width > MAX_SIDE || png.height > MAX_SIDE) {
        int rc = ddp_fail(err, DDP_E_DATA, "%s has %u x %u pixels; at most %d a side are allowed", path,
                          (unsigned)png.width, (unsigned)png.height, MAX_SIDE);
        png_image_free(&png);
        return rc;
    }
    /* colour is turned into gray here and not by libpng, whose way passes through linear light */
    png.format = colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    int from = colour ? 3 : 1, c = channels ? channels : from, h = (int)png.height, w = (int)png.width;
    size_t plane = (size_t)h * (size_t)w;
    uint8_t *pixels = ddp_malloc(plane * (size_t)from);
    png_color black = {0, 0, 0}; /* behind transparent pixels */
    if (!png_image_finish_read(&png, &black, pixels, 0, NULL)) {
        free(pixels);
        return ddp_fail(err, DDP_E_DATA, "%s does not decode: %s", path, png.message);
    }
    uint8_t *planes = ddp_malloc(plane * (size_t)c);
    for (size_t i = 0; i < plane; i++) {
        const uint8_t *p = pixels + i * (size_t)from;
        if (from == c)
            for (int k = 0; k < c; k++)
                planes[(size_t)k * plane + i] = p[k];
        else if (c == 1) /* luma of ITU-R BT.601, as JPEG's */
            planes[i] = (uint8_t)((19595u * p[0] + 38470u * p[1] + 7471u * p[2] + 32768u) >> 16);
        else
            planes[i] = planes[plane + i] = planes[2 * plane + i] = p[0];
    }
    free(pixels);
    *out = (struct ddp_image){c, h, w, planes};
    return 0;
}

int ddp_image_decode(const char *path, const void *data, size_t bytes, int channels, struct ddp_image *out,
                     struct ddp_error *err)
{
    static const uint8_t jpeg[3] = {0xff, 0xd8, 0xff}, png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    if (bytes >= sizeof jpeg && memcmp(data, jpeg, sizeof jpeg) == 0)
        return decode_jpeg(path, data, bytes, channels, out, err);
    if (bytes >= sizeof png && memcmp(data, png, sizeof png) == 0)
        return decode_png(path, data, bytes, channels, out, err);
    return ddp_fail(err, DDP_E_DATA, "%s does not decode: it is neither JPEG nor PNG", path);
}

int ddp_image_read(const char *path, int channels, struct ddp_image *out, struct ddp_error *err)
{
    char *data;
    size_t bytes;
    int rc = ddp_file_read(path, (size_t)1 << 30, &data, &bytes, err);
    if (rc)
        return rc;
    rc = ddp_image_decode(path, data, bytes, channels, out, err);
    free(data);
    return rc;
}

int ddp_image_write_png(const char *path, const uint8_t *pixels, int c, int h, int w, struct ddp_error *err)
{
    png_image png;
    memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    png.width = (png_uint_32)w;
    png.height = (png_uint_32)h;
    png.format = c == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    png_alloc_size_t bytes = 0;
    if (!png_image_write_get_memory_size(png, bytes, 0, pixels, 0, NULL))
        return ddp_fail(err, DDP_E_INTERNAL, "%s: %s", path, png.message);
    void *memory = ddp_malloc(bytes);
    int rc;
    if (!png_image_write_to_memory(&png, memory, &bytes, 0, pixels, 0, NULL))
        rc = ddp_fail(err, DDP_E_INTERNAL, "%s: %s", path, png.message);
    else
        rc = ddp_file_write(path, memory, bytes, err);
    free(memory);
    return rc;
}

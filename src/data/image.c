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

/* Refused by its head: it would take gigabytes, and no set of training pictures is meant to. */
static int check_size(const char *path, uint64_t w, uint64_t h, int64_t most, struct ddp_error *err)
{
    const uint64_t limit = most > 0 ? (uint64_t)most : DDP_IMAGE_MOST;
    if (w > MAX_SIDE || h > MAX_SIDE)
        return ddp_fail(err, DDP_E_DATA, "%s has %llu x %llu pixels; at most %d a side are allowed", path,
                        (unsigned long long)w, (unsigned long long)h, MAX_SIDE);
    if (w * h > limit)
        return ddp_fail(err, DDP_E_DATA,
                        "%s has %llu x %llu pixels; at most %llu in all are allowed (--max-pixels)", path,
                        (unsigned long long)w, (unsigned long long)h, (unsigned long long)limit);
    return 0;
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

/* Of the first APP1 segment with EXIF data. */
static int jpeg_orientation(const struct jpeg_decompress_struct *jpeg)
{
    for (const struct jpeg_marker_struct *m = jpeg->marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && memcmp(m->data, "Exif\0", 6) == 0)
            return ddp_exif_orientation(m->data + 6, m->data_length - 6);
    return 1;
}

static int decode_jpeg(const char *path, const uint8_t *data, size_t bytes, int channels, int64_t most,
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
    jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&jpeg, TRUE);
    int c = channels ? channels : jpeg.num_components == 1 ? 1 : 3;
    int rc = jpeg.num_components == 4
                 ? ddp_fail(err, DDP_E_DATA, "%s is a CMYK picture; convert it to RGB or gray", path)
                 : check_size(path, jpeg.image_width, jpeg.image_height, most, err);
    if (rc) {
        jpeg_destroy_decompress(&jpeg);
        return rc;
    }
    const int orientation = jpeg_orientation(&jpeg);
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
    ddp_image_upright(out, orientation);
    return 0;
}

/* ---- PNG ------------------------------------------------------------------------------------- */

/* libpng leaves out a damaged chunk with a warning, and the pixels are others (gAMA, tRNS): an error here.
 * Colour profiles are not used, so what is wrong with those changes nothing. */
static bool png_is_bad(const png_image *png)
{
    return png->warning_or_error != 0 && strncmp(png->message, "iCCP", 4) != 0;
}

/* The orientation in an eXIf chunk; the chunks are sound, libpng has just read them. */
static int png_orientation(const uint8_t *data, size_t bytes)
{
    for (size_t at = 8; at + 12 <= bytes;) {
        const size_t n =
            (size_t)data[at] << 24 | (size_t)data[at + 1] << 16 | (size_t)data[at + 2] << 8 | data[at + 3];
        if (n > bytes - at - 12)
            break;
        if (memcmp(data + at + 4, "eXIf", 4) == 0)
            return ddp_exif_orientation(data + at + 8, n);
        at += n + 12;
    }
    return 1;
}

static int decode_png(const char *path, const uint8_t *data, size_t bytes, int channels, int64_t most,
                      struct ddp_image *out, struct ddp_error *err)
{
    png_image png;
    memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_memory(&png, data, bytes) || png_is_bad(&png)) {
        int rc = ddp_fail(err, DDP_E_DATA, "%s does not decode: %s", path, png.message);
        png_image_free(&png);
        return rc;
    }
    bool colour = png.format & PNG_FORMAT_FLAG_COLOR;
    int rc = check_size(path, png.width, png.height, most, err);
    if (rc) {
        png_image_free(&png);
        return rc;
    }
    png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB; /* else libpng takes 16 bits for linear light */
    /* colour is turned into gray here and not by libpng, whose way passes through linear light */
    png.format = colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    int from = colour ? 3 : 1, c = channels ? channels : from, h = (int)png.height, w = (int)png.width;
    size_t plane = (size_t)h * (size_t)w;
    uint8_t *pixels = ddp_malloc(plane * (size_t)from);
    png_color white = {255, 255, 255}; /* behind transparent pixels */
    if (!png_image_finish_read(&png, &white, pixels, 0, NULL) || png_is_bad(&png)) {
        free(pixels);
        png_image_free(&png);
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
    ddp_image_upright(out, png_orientation(data, bytes));
    return 0;
}

/* ---- either ---------------------------------------------------------------------------------- */

static const uint8_t jpeg_mark[3] = {0xff, 0xd8, 0xff};
static const uint8_t png_mark[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

static bool starts(const void *data, size_t bytes, const void *mark, size_t n)
{
    return bytes >= n && memcmp(data, mark, n) == 0;
}

/* What it is instead; NULL: unknown. */
static const char *other_kind(const uint8_t *data, size_t bytes)
{
    static const struct {
        const char *mark;
        size_t n;
        const char *name;
    } kinds[] = {{"GIF8", 4, "a GIF"},
                 {"BM", 2, "a BMP"},
                 {"II*\0", 4, "a TIFF"},
                 {"MM\0*", 4, "a TIFF"},
                 {"\0\0\0\x0cjP  ", 8, "a JPEG 2000"}};
    if (bytes >= 12 && memcmp(data, "RIFF", 4) == 0 && memcmp(data + 8, "WEBP", 4) == 0)
        return "a WebP";
    if (bytes >= 12 && memcmp(data + 4, "ftyp", 4) == 0)
        return "a HEIC or AVIF";
    for (size_t i = 0; i < DDP_COUNT(kinds); i++)
        if (starts(data, bytes, kinds[i].mark, kinds[i].n))
            return kinds[i].name;
    return NULL;
}

int ddp_image_decode(const char *path, const void *data, size_t bytes, int channels, int64_t most,
                     struct ddp_image *out, struct ddp_error *err)
{
    if (starts(data, bytes, jpeg_mark, sizeof jpeg_mark))
        return decode_jpeg(path, data, bytes, channels, most, out, err);
    if (starts(data, bytes, png_mark, sizeof png_mark))
        return decode_png(path, data, bytes, channels, most, out, err);
    const char *kind = other_kind(data, bytes);
    if (kind)
        return ddp_fail(err, DDP_E_DATA, "%s is %s picture; convert it to JPEG or PNG", path, kind);
    return ddp_fail(err, DDP_E_DATA, "%s does not decode: it is neither JPEG nor PNG", path);
}

int ddp_image_read(const char *path, int channels, int64_t most, struct ddp_image *out, struct ddp_error *err)
{
    char *data;
    size_t bytes;
    int rc = ddp_file_read(path, (size_t)1 << 30, &data, &bytes, err);
    if (rc)
        return rc;
    rc = ddp_image_decode(path, data, bytes, channels, most, out, err);
    free(data);
    return rc;
}

/* Components of the first frame of a JPEG: segments are ff, kind, length; SOF0..15 but for DHT, JPG, DAC. */
static int jpeg_components(const uint8_t *p, size_t bytes)
{
    for (size_t at = 2; at + 9 < bytes;) {
        if (p[at] != 0xff) {
            at++;
            continue;
        }
        const int kind = p[at + 1];
        if (kind >= 0xc0 && kind <= 0xcf && kind != 0xc4 && kind != 0xc8 && kind != 0xcc)
            return p[at + 9];
        const bool bare = kind == 0xff || kind == 0x01 || (kind >= 0xd0 && kind <= 0xd8);
        at += bare ? (kind == 0xff ? 1 : 2) : 2 + ((size_t)p[at + 2] << 8 | p[at + 3]);
    }
    return 0;
}

int ddp_image_colour(const char *path, bool *colour, struct ddp_error *err)
{
    const void *data;
    size_t bytes;
    int rc = ddp_file_map(path, &data, &bytes, err);
    if (rc)
        return rc;
    const uint8_t *p = data;
    *colour = false;
    if (starts(p, bytes, jpeg_mark, sizeof jpeg_mark))
        *colour = jpeg_components(p, bytes) > 1;
    else if (starts(p, bytes, png_mark, sizeof png_mark) && bytes > 25)
        *colour = p[25] & 2; /* IHDR's colour type: bit 1, palettes included */
    ddp_file_unmap(data, bytes);
    return 0;
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

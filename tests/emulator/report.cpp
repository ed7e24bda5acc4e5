/* Faults: counted, worded with the kernel, the place in its source, block and thread. Names of the kernels
 * that ran. */
#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <set>

#include "private.h"

namespace
{
enum { LINES = 20 }; /* printed; all are counted */
std::atomic<long> counts[EMU_FAULTS];
std::atomic<long> printed;
std::mutex text_mutex;
char last_text[1024];
int fatal_set = -1;

const char *const kinds[EMU_FAULTS] = {
    "race",     "race between blocks", "out of bounds", "misaligned", "unwritten",
    "diverged", "bad launch",          "host"};

bool fatal()
{
    const char *e = getenv("DDP_EMU_FATAL");
    if (e && *e)
        return strcmp(e, "0") != 0;
    return fatal_set >= 0 ? fatal_set != 0 : emu_on_launch != NULL;
}

void count(enum emu_fault kind, const std::string &line)
{
    counts[kind]++;
    {
        std::lock_guard<std::mutex> hold(text_mutex);
        snprintf(last_text, sizeof last_text, "%s", line.c_str());
    }
    if (printed++ < LINES || fatal())
        fprintf(stderr, "emu: %s\n", line.c_str());
    if (fatal()) {
        fprintf(stderr, "emu: DDP_EMU_FATAL=0 goes on after a fault\n");
        abort();
    }
}

/* "norm.cu:123" of a return address, through addr2line where it is installed; "" else. */
std::string source_of(void *pc)
{
    static auto &known = emu_immortal<std::map<void *, std::string>>();
    auto it = known.find(pc);
    if (it != known.end())
        return it->second;
    std::string found;
    Dl_info info;
    if (pc && dladdr(pc, &info) && info.dli_fname && *info.dli_fname) {
        char file[4096], command[4400], line[1024] = "";
        struct link_map *map = NULL;
        Dl_info again;
        dladdr1(pc, &again, (void **)&map, RTLD_DL_LINKMAP);
        if (!map || !*map->l_name || !realpath(info.dli_fname, file))
            snprintf(file, sizeof file, "/proc/%d/exe", (int)getpid());
        snprintf(command, sizeof command, "addr2line -e '%s' 0x%zx 2>/dev/null", file,
                 (size_t)((uintptr_t)pc - 1 - (map ? map->l_addr : 0)));
        FILE *f = popen(command, "r");
        if (f) {
            if (fgets(line, sizeof line, f) && line[0] != '?') {
                line[strcspn(line, " \n")] = 0;
                const char *s = strrchr(line, '/');
                found = s ? s + 1 : line;
            }
            pclose(f);
        }
    }
    return known[pc] = found;
}

/* The symbol at an address from the file's own table: kernels are static, dladdr() does not know them. */
std::string symbol_of(void *address)
{
    Dl_info info;
    struct link_map *map = NULL;
    if (!dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) || !map)
        return "";
    int fd = open(*map->l_name ? map->l_name : "/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return "";
    if (fstat(fd, &st) != 0) {
        close(fd);
        return "";
    }
    char *m = (char *)mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (m == MAP_FAILED)
        return "";
    std::string found;
    const ElfW(Ehdr) *e = (const ElfW(Ehdr) *)m;
    const ElfW(Shdr) *sections = (const ElfW(Shdr) *)(m + e->e_shoff);
    const uintptr_t at = (uintptr_t)address - map->l_addr;
    for (int i = 0; i < e->e_shnum && found.empty(); i++)
        if (sections[i].sh_type == SHT_SYMTAB) {
            const ElfW(Sym) *s = (const ElfW(Sym) *)(m + sections[i].sh_offset);
            const char *names = m + sections[sections[i].sh_link].sh_offset;
            for (size_t k = 0; k < sections[i].sh_size / sizeof *s; k++)
                if (s[k].st_value == at && (s[k].st_info & 0xf) == STT_FUNC) {
                    found = names + s[k].st_name;
                    break;
                }
        }
    munmap(m, (size_t)st.st_size);
    return found;
}

/* "void norm<ddp_bf16, true>(int)" -> "norm<ddp_bf16, true>" */
std::string plain_name(const std::string &symbol)
{
    int status;
    char *d = abi::__cxa_demangle(symbol.c_str(), NULL, NULL, &status);
    if (!d)
        return symbol;
    std::string s = d;
    free(d);
    int depth = 0;
    size_t begin = 0, end = s.size();
    for (size_t i = 0; i < s.size(); i++) {
        if (s[i] == '<')
            depth++;
        else if (s[i] == '>')
            depth--;
        else if (s[i] == ' ' && depth == 0)
            begin = i + 1;
        else if (s[i] == '(' && depth == 0) {
            end = i;
            break;
        }
    }
    return s.substr(begin, end - begin);
}

std::map<void *, std::string> &kernels()
{
    static auto &k = emu_immortal<std::map<void *, std::string>>();
    return k;
}

struct at_exit {
    ~at_exit()
    {
        write_kernels();
        if (emu_faults() > 0) {
            fprintf(stderr, "emu: %ld faults\n", emu_faults());
            fflush(NULL);
            _exit(1);
        }
    }
    void write_kernels()
    {
        const char *path = getenv("DDP_EMU_KERNELS");
        if (!path || !*path)
            return;
        std::set<std::string> names;
        for (auto &k : kernels())
            names.insert(k.second);
        std::string text;
        for (auto &n : names)
            text += n + "\n";
        int fd = open(path, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0 || write(fd, text.data(), text.size()) != (ssize_t)text.size())
            fprintf(stderr, "emu: DDP_EMU_KERNELS: cannot write %s\n", path);
        if (fd >= 0)
            close(fd);
    }
} at_exit_;
} // namespace

void emu_note_kernel(const emu_work *work)
{
    auto it = kernels().find(work->kernel);
    if (it != kernels().end())
        return;
    std::string s = symbol_of(work->kernel);
    kernels()[work->kernel] = s.empty() ? work->name : plain_name(s);
}

void emu_fault_at(enum emu_fault kind, void *pc, const std::string &what)
{
    std::string line = std::string(kinds[kind]) + ": ";
    if (emu_now.work && kind != EMU_HOST)
        line += "kernel " + kernels()[emu_now.work->kernel] + ", block " + std::to_string(emu_now.block) +
                ", thread " + std::to_string(emu_now.thread) + ": ";
    line += what;
    if (pc) {
        const std::string source = source_of(pc);
        if (!source.empty())
            line += " [" + source + "]";
    }
    count(kind, line);
}

void emu_fault(enum emu_fault kind, const char *fmt, ...)
{
    char text[800];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    count(kind, std::string(kinds[kind]) + ": " + text);
}

long emu_faults()
{
    long n = 0;
    for (auto &c : counts)
        n += c;
    return n;
}

long emu_fault_count(enum emu_fault kind)
{
    return counts[kind];
}

const char *emu_last_fault()
{
    return last_text;
}

void emu_clear_faults()
{
    for (auto &c : counts)
        c = 0;
    printed = 0;
    last_text[0] = 0;
}

void emu_set_fatal(bool f)
{
    fatal_set = f;
}

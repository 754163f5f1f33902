#include "store/folder/data_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>

namespace tau::store {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFirstWords = "tau data ";
constexpr std::string_view kWriterWords = "written by ";
constexpr std::size_t kRecordBytesMax = 4096;  // two lines

std::unexpected<Error> disk_error(const fs::path& path, std::string_view doing) {
  const int why = errno;
  return fail(ErrorCode::unavailable,
              std::string(doing) + " " + path.string() + ": " + std::strerror(why));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Status write_all(int fd, std::string_view text, const fs::path& path) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return disk_error(path, "writing");
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

std::string read_start(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text(kRecordBytesMax, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

Result<int> lock(const fs::path& folder) {
  const fs::path file = folder / "lock";
  Descriptor fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (fd.get() < 0) return disk_error(file, "opening");
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return disk_error(file, "locking");
    std::string holder = read_start(file);
    holder = holder.substr(0, holder.find('\n'));
    return fail(ErrorCode::failed_precondition,
                "data folder " + folder.string() + " is in use" +
                    (holder.empty() ? "" : " by process " + holder) +
                    ": stop that node, or give this one a folder of its own");
  }
  // For people; the lock itself needs no text.
  if (::ftruncate(fd.get(), 0) != 0) return disk_error(file, "writing");
  TRY_STATUS(write_all(fd.get(), std::to_string(::getpid()) + "\n", file));
  return fd.release();
}

struct Record {
  std::uint32_t format = 0;
  std::string program;
};

// Without a file: format 0, which is also what a folder has that nobody has used yet.
Result<Record> read_record(const fs::path& folder) {
  const fs::path file = folder / "format";
  std::error_code ec;
  if (!fs::exists(file, ec)) {
    if (ec) return fail(ErrorCode::unavailable, file.string() + ": " + ec.message());
    return Record{};
  }
  const std::string text = read_start(file);
  std::string_view rest = text;
  Record record;
  const auto unreadable = [&] {
    return fail(ErrorCode::data_loss,
                file.string() +
                    " is no format record (\"tau data NUMBER\"); it is written whole "
                    "or not at all, so something else changed it: restore it, or write "
                    "\"tau data 1\" into it if this folder is of tau 0.1");
  };
  if (!rest.starts_with(kFirstWords)) return unreadable();
  rest.remove_prefix(kFirstWords.size());
  const auto [end, wrong] = std::from_chars(rest.data(), rest.data() + rest.size(), record.format);
  if (wrong != std::errc() || record.format == 0) return unreadable();
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  if (!rest.empty() && rest[0] != '\n') return unreadable();
  if (!rest.empty()) rest.remove_prefix(1);
  if (rest.starts_with(kWriterWords)) {
    rest.remove_prefix(kWriterWords.size());
    record.program = rest.substr(0, rest.find('\n'));
  }
  return record;
}

Status write_record(const fs::path& folder, std::uint32_t format, std::string_view program) {
  return replace_file(folder / "format", std::string(kFirstWords) + std::to_string(format) + "\n" +
                                             std::string(kWriterWords) + std::string(program) +
                                             "\n");
}

// tau 0.1 before formats had numbers: db/ and git/ as they are in format 1.
Status nothing_to_change(const fs::path&) { return {}; }

constexpr DataFolder::Step kSteps[] = {
    {0, "a folder without a format record gets one", nothing_to_change}};

}  // namespace

std::span<const DataFolder::Step> DataFolder::steps() { return kSteps; }

Result<std::unique_ptr<DataFolder>> DataFolder::open(const fs::path& folder,
                                                     std::string_view program) {
  return open(folder, program, kFormat, steps());
}

Result<std::unique_ptr<DataFolder>> DataFolder::open(const fs::path& folder,
                                                     std::string_view program, std::uint32_t format,
                                                     std::span<const Step> steps) {
  std::error_code ec;
  fs::create_directories(folder, ec);
  if (ec)
    return fail(ErrorCode::unavailable,
                "making the data folder " + folder.string() + ": " + ec.message());
  TRY(const int fd, lock(folder));
  std::unique_ptr<DataFolder> opened(new DataFolder(fd));
  TRY(const Record record, read_record(folder));
  if (record.format > format)
    return fail(ErrorCode::failed_precondition,
                "data folder " + folder.string() + " has format " + std::to_string(record.format) +
                    (record.program.empty() ? std::string() : ", written by " + record.program) +
                    "; " + std::string(program) + " reads up to format " + std::to_string(format) +
                    ": install that program or a later one, or give this node an empty folder");
  std::uint32_t at = record.format;
  if (at == 0 && !fs::exists(folder / "db", ec)) {
    TRY_STATUS(write_record(folder, format, program));
    return opened;
  }
  for (const Step& step : steps) {
    if (step.from != at) continue;
    const Status done = step.run(folder);
    if (!done)
      return fail(Error(done.error())
                      .context("bringing data folder " + folder.string() + " from format " +
                               std::to_string(at) + " to " + std::to_string(at + 1) + " (" +
                               std::string(step.what) + ")"));
    TRY_STATUS(write_record(folder, ++at, program));
  }
  if (at != format)
    return fail(ErrorCode::failed_precondition,
                "data folder " + folder.string() + " has format " + std::to_string(at) +
                    ", which " + std::string(program) +
                    " does not read any more: start it once with a program "
                    "in between (docs/formats.md), which brings it up to date");
  if (record.format == format && record.program != program)
    TRY_STATUS(write_record(folder, format, program));
  return opened;
}

DataFolder::~DataFolder() { ::close(lock_); }

Status sync_folder(const fs::path& folder) {
  const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) return disk_error(folder, "syncing");
  return {};
}

Status replace_file(const fs::path& file, std::string_view text) {
  fs::path fresh = file;
  fresh += ".new";
  {
    const Descriptor fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (fd.get() < 0) return disk_error(fresh, "writing");
    TRY_STATUS(write_all(fd.get(), text, fresh));
    if (::fsync(fd.get()) != 0) return disk_error(fresh, "syncing");
  }
  if (::rename(fresh.c_str(), file.c_str()) != 0) return disk_error(file, "replacing");
  return sync_folder(file.parent_path());
}

}  // namespace tau::store

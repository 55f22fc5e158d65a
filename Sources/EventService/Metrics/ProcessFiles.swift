import EventCore
import FoundationEssentials
import Glibc

/// What `/proc/self` and the system's limits say of this process.
enum ProcessFiles {
    /// What there is to know now.
    static func report(started: Timestamp) -> ProcessReport {
        var report = ProcessReport()
        var usage = rusage()
        getrusage(RUSAGE_SELF.rawValue, &usage)
        report.processor =
            .seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
            + .microseconds(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
        if let pages = numbers(of: "/proc/self/statm").dropFirst().first {
            report.residentBytes = pages * sysconf(Int32(_SC_PAGESIZE))
        }
        report.descriptors = openDescriptors()
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        report.maximumDescriptors = Int(clamping: limit.rlim_cur)
        report.started = started
        return report
    }

    /// Linux from 6.2 on counts them as the size of the folder; before, they are listed.
    private static func openDescriptors() -> Int {
        var status = stat()
        if stat("/proc/self/fd", &status) == 0, status.st_size > 0 { return status.st_size }
        guard let folder = opendir("/proc/self/fd") else { return 0 }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        // Not ".", "..", and the folder itself.
        return max(0, count - 3)
    }

    private static func numbers(of path: String) -> [Int] {
        let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        return text.split(separator: " ").compactMap { Int($0) }
    }
}
